"""launch.run and real trainings in two processes: they end, they stop and go on, and nothing is left behind."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tiny_digits

pytestmark = [
    pytest.mark.launcher,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death"),
]
ROOT = Path(__file__).parents[2]
LIMIT = 240  # seconds until a test gives up


class Training:
    """A run folder, and launch.run started for it as often as one likes."""

    def __init__(self, home: Path) -> None:
        tiny_digits.save(home / "teacher.safetensors")
        self.folder = home / "run"
        own = tiny_digits.words(home, "run", "--epochs", "20", "--checkpoint_steps", "5")
        self.words = [sys.executable, "-m", "launch.run", "--processes", "2", "train.distill", *own]

    def start(self, **options: Any) -> subprocess.Popen[str]:
        """Start it in a session of its own."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
        own |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        options = {"stderr": subprocess.PIPE, "text": True} | options
        return subprocess.Popen(self.words, cwd=ROOT, env=own, start_new_session=True, **options)

    def until_it_trains(self, process: subprocess.Popen[str]) -> None:
        """Wait for a first checkpoint."""
        self._until(lambda: any(self.folder.glob("checkpoints/step-*")), process)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "status.json").read_text())
        return found

    def processes(self) -> dict[int, str]:
        """All that have the run folder among their words, by pid."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = entry.read_bytes().split(b"\0")
                if str(self.folder).encode() in words:
                    found[int(entry.parent.name)] = b" ".join(words).decode()
        return found

    def until_all_are_gone(self) -> None:
        self._until(lambda: not self.processes())

    @staticmethod
    def _until(holds: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
        deadline = time.monotonic() + LIMIT
        while not holds():
            assert process is None or process.poll() is None, f"it ended early, with {process.returncode}"
            assert time.monotonic() < deadline, "given up"
            time.sleep(0.05)


@pytest.fixture
def training(tmp_path: Path) -> Iterator[Training]:
    made = Training(tmp_path)
    yield made
    for pid in made.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_a_training_that_is_told_to_stop_goes_on_with_the_same_command(training: Training) -> None:
    first = training.start()
    training.until_it_trains(first)
    first.send_signal(signal.SIGTERM)
    _, said = first.communicate(timeout=LIMIT)
    assert first.returncode == 75 and not training.processes(), said
    assert f"{training.folder}: preempted, exit code 75: stopped" in said and "SIGTERM was received" in said
    again = training.start()
    _, said = again.communicate(timeout=LIMIT)
    assert again.returncode == 0 and "resumed at epoch" in said, said
    assert training.status()["starts"] == 2
    assert json.loads((training.folder / "result.json").read_text())["processes"] == 2


def test_nothing_outlives_launch_run(training: Training) -> None:
    one = training.start(stderr=subprocess.DEVNULL)
    training.until_it_trains(one)
    assert len(training.processes()) == 4  # itself, the launcher, two that train
    one.kill()
    one.wait()
    training.until_all_are_gone()
    assert training.status()["exit_code"] == 75


def test_a_launcher_that_is_killed_leaves_a_run_that_can_go_on(training: Training) -> None:
    one = training.start(stderr=subprocess.DEVNULL)
    training.until_it_trains(one)
    children = Path(f"/proc/{one.pid}/task/{one.pid}/children").read_text().split()
    assert len(children) == 1
    os.kill(int(children[0]), signal.SIGKILL)
    assert one.wait(LIMIT) == 75 == training.status()["exit_code"]
    training.until_all_are_gone()


def test_ctrl_c(training: Training) -> None:
    """A real one, which saves: the character, typed at a terminal whose foreground is launch.run."""
    keyboard, terminal = pty.openpty()

    def at_the_terminal() -> None:
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

    one = training.start(stdin=terminal, stderr=subprocess.DEVNULL, preexec_fn=at_the_terminal)
    training.until_it_trains(one)
    os.write(keyboard, b"\x03")
    assert one.wait(LIMIT) == 75 == training.status()["exit_code"]
    assert training.status()["state"] == "preempted"
    assert not training.processes()
    os.close(keyboard)
    os.close(terminal)
