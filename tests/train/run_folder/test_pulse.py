"""A process that is stopped is named by the others, which end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import forked
import tiny_digits
from configs.errors import ExitCode
from train.run_folder import causes, pulse, status
from train.run_folder.pulse import SHARE, Pulse

# In the third step, as by SIGSTOP of a debugger or a node that hangs.
STOPPED = """
import os, signal
from train.step import Step
real, left = Step.__call__, 3
def stopping(*words):
    global left
    left -= 1
    if left == 0 and os.environ["RANK"] == "{rank}":
        os.kill(os.getpid(), signal.SIGSTOP)
    return real(*words)
Step.__call__ = stopping
"""
SOON = ("--timeout_minutes", "0.2")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    tiny_digits.save(home / "teacher.safetensors")
    return home


@pytest.mark.launcher
@pytest.mark.parametrize("stopped", [0, 1])
def test_of_two_real_processes_the_stopped_one_is_named_by_the_other(home: Path, stopped: int) -> None:
    run = home / f"run-{stopped}"
    words = ["train.distill", *tiny_digits.words(home, run.name, *SOON)]
    both = forked.start_world(2, *words, prelude=STOPPED.format(rank=stopped))
    try:
        end = both[1 - stopped].wait()
    finally:
        both[stopped].kill()
    assert end.code == ExitCode.UNAVAILABLE, end.stderr
    said = end.stderr.splitlines()[-1]
    assert said.startswith(f"error: process {stopped} (") and "gave no sign of life for 6 s" in said
    if stopped == 1:
        found = status.read(run)
        assert (found["state"], found["exit_code"]) == ("failed", 69) and f"error: {found['reason']}" == said
    else:  # launch.run finds it there
        assert str(causes.first(run)) == f"process 1: {said.removeprefix('error: ')}"
        again = forked.run_world(2, *words)  # the control: with the same limit, and nobody is stopped
        assert [one.code for one in again] == [0, 0] and not list(run.glob(".alive*"))


def beats(one: Pulse, count: int) -> list[list[int]]:
    return [one.beat() for _ in range(count)]


def touch(path: Path, number: int) -> None:
    """A later time than before, on file systems of coarse times too."""
    os.utime(path, ns=(number, number))


def test_silence_is_counted_in_looks_of_ones_own(tmp_path: Path) -> None:
    """What was suspended together goes on together: the clock alone says nothing."""
    one, two = Pulse(tmp_path, 0, 3, 6.0), Pulse(tmp_path, 1, 3, 6.0)
    third = tmp_path / pulse.NAME.format(2)
    assert beats(one, SHARE - 1) == [[]] * (SHARE - 1)
    touch(tmp_path / pulse.NAME.format(1), 1)
    assert one.beat() == [2]
    third.write_text("n7, pid 3")
    assert one.beat() == [] and beats(one, SHARE - 1)[-1] == [1]
    assert "2 (n7, pid 3)" in str(one.error([2])) and "pid" in str(one.error([1]))
    one.end()
    two.end()
    assert "it has not begun" in str(one.error([1])) and [path.name for path in tmp_path.iterdir()] == [third.name]


def test_one_process_watches_nobody_and_the_inner_of_two_folders_has_no_file(tmp_path: Path) -> None:
    with pulse.watched(tmp_path, 0, 1, causes.record):
        assert not list(tmp_path.iterdir())
    inner = tmp_path / "cut-01"
    with pulse.watched(tmp_path, 0, 2, causes.record), pulse.watched(inner, 0, 2, causes.record):
        assert (tmp_path / pulse.NAME.format(0)).exists() and not inner.exists()
    assert not pulse._active


def test_the_silence_that_is_allowed_is_short_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "_seconds", [0.0])
    pulse.limit(0.2)
    assert pulse._seconds == [6.0]
    pulse.limit(120)
    assert pulse._seconds == [pulse.LONGEST]
