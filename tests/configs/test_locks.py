"""A lock on a folder belongs to one process, and is free however that process ends."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from configs import locks
from configs.errors import ExitCode
from configs.locks import LockedError

ROOT = Path(__file__).parents[2]
HOLD = "import sys; from pathlib import Path; from configs import locks\nwith locks.alone(Path(sys.argv[1]), str):\n"
HOLD += "    print(flush=True); input()"


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of the folder."""
    words = [sys.executable, "-c", HOLD, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(words, cwd=ROOT, **pipes) as process:
        assert process.stdout is not None and process.stdout.readline()
        yield process
        process.kill()


def test_another_process_is_refused_with_the_reason(tmp_path, holder):
    with (
        pytest.raises(LockedError, match=r"^somebody is there$") as caught,
        locks.alone(tmp_path, lambda: "somebody is there"),
    ):
        pass
    assert caught.value.exit_code == ExitCode.LOCKED and locks.held(tmp_path) is True


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, None])
def test_a_lock_is_free_however_its_process_ended(tmp_path, holder, end):
    if end is None:
        holder.communicate(b"\n")
    else:
        holder.send_signal(end)
        holder.wait()
    assert locks.held(tmp_path) is False
    with locks.alone(tmp_path, str):
        assert locks.held(tmp_path) is True


def test_without_a_lock_file_nothing_is_known_and_looking_makes_none(tmp_path):
    assert locks.held(tmp_path) is None and locks.held(tmp_path / "none") is None
    assert not list(tmp_path.iterdir())
    with locks.alone(tmp_path / "made" / "here", str):
        pass
    assert locks.held(tmp_path / "made" / "here") is False
