"""What goes wrong in a process other than the main one is in the status, with its exit code."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

import forked
import tiny_digits
from configs.errors import ExitCode, InputError, exit_code
from configs.stopping import StoppedError
from train.run_folder import causes

# In the third step of one process, while the other waits for its gradients.
FAILING = """
import os, signal
from configs.errors import InputError
from train.step import Step
real, left = Step.__call__, 3
def failing(*words):
    global left
    left -= 1
    if left == 0 and os.environ["RANK"] == "{rank}":
        {end}
    return real(*words)
Step.__call__ = failing
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    tiny_digits.save(home / "teacher.safetensors")
    return home


def ended(home: Path, run: str, end: str, rank: int = 1) -> tuple[list[forked.Ended], dict]:
    found = forked.run_world(
        2, "train.distill", *tiny_digits.words(home, run), prelude=FAILING.format(end=end, rank=rank)
    )
    return found, json.loads((home / run / "status.json").read_text())


@pytest.mark.launcher
def test_both_end_with_the_error_of_the_other_and_go_on_with_the_same_command(home: Path) -> None:
    found, status = ended(home, "run", 'raise InputError("images/7.jpg is damaged")')
    assert [one.code for one in found] == [66, 66]
    assert (status["state"], status["exit_code"]) == ("failed", 66)
    assert status["reason"] == "process 1: images/7.jpg is damaged"
    assert found[0].stderr.splitlines()[-1] == "error: process 1: images/7.jpg is damaged"
    again = forked.run_world(2, "train.distill", *tiny_digits.words(home, "run"))
    assert [one.code for one in again] == [0, 0] and not list((home / "run").glob(causes.NAMES))


@pytest.mark.launcher
def test_the_error_of_the_main_one_is_its_own(home: Path) -> None:
    found, status = ended(home, "main", 'raise InputError("images/8.jpg is damaged")', rank=0)
    assert found[0].code == 66 and status["reason"] == "images/8.jpg is damaged"


@pytest.mark.launcher
def test_of_a_process_that_was_killed_nothing_is_known(home: Path) -> None:
    """The control: there is nothing to find, and the main one says what it saw."""
    found, status = ended(home, "killed", "os.kill(os.getpid(), signal.SIGKILL)")
    assert found[1].code == -signal.SIGKILL and found[0].code == 1
    assert status["state"] == "failed" and "process 1" not in status["reason"]


# ---- which cause counts


def witness(folder: Path, process: int, error: BaseException) -> None:
    with pytest.raises(type(error)), causes.witnessed(folder, process):
        raise error


def test_an_error_with_a_message_of_ours_comes_before_what_follows_from_it(tmp_path: Path) -> None:
    broken = RuntimeError("Connection closed by peer")
    witness(tmp_path, 1, broken)
    witness(tmp_path, 3, InputError("a"))
    witness(tmp_path, 2, InputError("b"))
    found = causes.explained(tmp_path, broken)
    assert str(found) == "process 3: a" == str(causes.first(tmp_path)) and exit_code(found) is ExitCode.INPUT


def test_a_stop_is_no_error_unless_another_process_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchrun asks the others to stop when one fails: that must not count as preempted."""
    stopped = StoppedError("SIGTERM was received")
    witness(tmp_path, 1, stopped)
    assert causes.explained(tmp_path, stopped) is stopped
    witness(tmp_path, 1, OSError(28, "No space left on device"))
    assert exit_code(causes.explained(tmp_path, stopped)) is ExitCode.IO


def test_own_errors_stay_and_what_is_damaged_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(causes, "SECONDS", 0)
    (tmp_path / "error-process-1.json").write_text('{"process": 1')
    for error in (RuntimeError("a"), InputError("b"), KeyboardInterrupt()):
        assert causes.explained(tmp_path, error) is error
    witness(tmp_path, 2, InputError("c"))
    assert causes.explained(tmp_path, own := InputError("b")) is own
    causes.forget(tmp_path)
    assert not list(tmp_path.iterdir())
