"""How a run stands, by what is in its folder."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from configs import locks
from configs.errors import InputError
from configs.stopping import StoppedError
from train.run_folder import status

ROOT = Path(__file__).parents[3]
GONE = {"state": "running", "host": platform.node(), "pid": 2**30}


def test_what_is_written_is_read_and_keeps_its_order(tmp_path: Path) -> None:
    status.write(tmp_path, "running", {"epoch": 1, "state": "done"})
    status.note(tmp_path, {"epoch": 2})
    assert list(status.read(tmp_path)) == ["state", "epoch", "updated"]
    assert (status.read(tmp_path)["state"], status.read(tmp_path)["epoch"]) == ("running", 2)


@pytest.mark.parametrize(
    ("error", "state", "code", "reason"),
    [
        (None, "done", 0, None),
        (StoppedError("enough"), "preempted", 75, "enough"),
        (InputError("no such file"), "failed", 66, "no such file"),
        (KeyboardInterrupt(), "failed", 130, "KeyboardInterrupt"),
    ],
)
def test_an_end_keeps_what_was_known(
    tmp_path: Path, error: BaseException | None, state: str, code: int, reason: str | None
) -> None:
    status.write(tmp_path, "running", {"epoch": 3})
    status.end(tmp_path, error)
    found = json.loads((tmp_path / "status.json").read_text())
    assert (found["state"], found["exit_code"], found["reason"], found["epoch"]) == (state, code, reason, 3)


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", "[" * 100_000])
def test_a_damaged_status_says_nothing_and_is_a_fault(tmp_path: Path, content: str) -> None:
    (tmp_path / "status.json").write_text(content)
    faults: list[str] = []
    assert status.read(tmp_path, faults) == {} and faults == ["status.json is damaged"]
    assert status.state(tmp_path, status.read(tmp_path)) == "unknown"


@pytest.mark.parametrize(
    ("values", "state"),
    [
        ({}, "waiting"),
        ({"state": "done"}, "done"),
        ({"state": "preempted", "exit_code": 75}, "preempted"),
        ({"state": "failed", "exit_code": 65}, "failed"),
        ({"state": "failed", "exit_code": 130}, "preempted"),
        (GONE, "lost"),
        (GONE | {"host": "elsewhere"}, "running"),  # it has no lock that could be seen from here
        ({"state": "stopped"}, "waiting"),
    ],
)
def test_the_state_of_a_folder_with_this_status(tmp_path: Path, values: dict, state: str) -> None:
    assert status.state(tmp_path / "run", values) == state and state in status.STATES


def test_a_marker_or_files_without_a_status_tell_too(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    assert status.state(tmp_path, {}) == "waiting"
    for name in ("config.yaml", "metrics.jsonl"):
        (tmp_path / name).touch()
    assert status.state(tmp_path, {}) == "unknown"
    (tmp_path / "done").touch()
    assert status.state(tmp_path, GONE) == "done"


def test_a_lock_says_more_than_a_pid(tmp_path: Path) -> None:
    values = GONE | {"pid": os.getpid()}
    with locks.alone(tmp_path, str):
        assert status.state(tmp_path, values) == "running"
    assert status.state(tmp_path, values) == "lost"


def test_it_loads_no_torch() -> None:
    code = "import sys, train.run_folder.status; print({'torch', 'accelerate', 'yaml'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "set()"
