"""A launcher and its processes: told to stop once, never left behind, and the exit code that the run itself has.

    run.py, SIGTERM, SIGUSR1, SIGUSR2, SIGHUP   the launcher is told once, and the processes save and leave
    run.py, Ctrl-C                              the launcher hears each
    run.py dies of SIGKILL                      the launcher is told by the kernel
    the launcher dies of SIGKILL                its processes are told by the kernel; their end is waited for

A launcher has a session of its own: what a terminal, `timeout` or a shell sends to all, it hears from here alone. Slurm
signals a step's task alone, which is this process, or all of its processes (proctrack/cgroup or not): both are borne.
Free of torch.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from configs import locks, stopping
from configs.errors import ExitCode
from launch.start import Start, shutdown_seconds
from train.run_folder import status

LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
ENDS: tuple[status.Stored, ...] = ("done", "preempted", "failed")
PAUSE = 0.2
"""Seconds between two looks at a run folder."""


def supervise(start: Start, environment: Mapping[str, str], folder: Path | None) -> int:
    """Start a launcher, pass on what asks it to stop, and return the exit code of its run.

    Args:
        start: What is started.
        environment: Its variables, all of them.
        folder: Where the run leaves its status. None: the launcher's own exit code is all there is.
    """
    before = _read(folder)
    messenger = Messenger(start.by)
    messenger.listen()
    with subprocess.Popen(
        start.words,
        env=environment,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_bound_to_parent(messenger.stop),
    ) as child:
        messenger.attach(child)
        launcher = child.wait()
    state = last_word(folder, before, shutdown_seconds(environment)) if launcher else {}
    code = exit_code(launcher, state, asked_by=messenger.asked_by)
    if state.get("reason") and code:
        print(f"{folder}: {state.get('state')}, exit code {code}: {state['reason']}", file=sys.stderr)
    return code


def exit_code(launcher: int, state: Mapping[str, Any], *, asked_by: int | None = None) -> int:
    """What a run ends with.

    Args:
        launcher: The launcher's return code; negative: the signal that it died of.
        state: The run's status, if it has written one since it was started.
        asked_by: The signal by which it was asked to stop. Before there is a status nothing has been done, and the
            same command does it.
    """
    own = state.get("exit_code")
    if launcher == 0:
        return 0
    if state.get("state") in ENDS and isinstance(own, int) and 0 <= own < 256:
        return own
    if asked_by is not None and not state:
        return ExitCode.INTERRUPTED if asked_by == signal.SIGINT else ExitCode.STOPPED
    return launcher if launcher > 0 else 128 - launcher


def last_word(folder: Path | None, before: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """The status of a run whose launcher failed; nothing if it never wrote one.

    Processes outlive a launcher that was killed, and those of another node theirs: while one of them holds the folder,
    it is saving, and waited for.
    """
    until = time.monotonic() + seconds
    while True:
        free = folder is None or not locks.held(folder)
        now = _read(folder)  # in this order: an end is written before the lock is let go
        if now.get("starts") == before.get("starts"):  # another run's, or an earlier one's
            return {} if free else {"state": "failed", "exit_code": ExitCode.LOCKED}
        if free or time.monotonic() >= until:
            return now
        time.sleep(PAUSE)


def _read(folder: Path | None) -> dict[str, Any]:
    """What a run says of itself; nothing without a folder for it."""
    return status.read(folder) if folder else {}


class Messenger:
    """Tells the launcher to stop, once: torchrun gives up its processes at the third SIGTERM."""

    def __init__(self, by: str) -> None:
        self.asked_by: int | None = None
        # srun ends its step at once on SIGTERM, and passes SIGUSR1 on to its tasks.
        self.stop = signal.SIGUSR1 if by == "srun" else signal.SIGTERM
        self._told = False
        self._child: subprocess.Popen[bytes] | None = None

    def listen(self) -> None:
        """Hear signals from now on, but not those that whoever started this wants ignored, such as nohup."""
        for name in (*stopping.SIGNALS, "SIGHUP", "SIGINT"):
            number = getattr(signal, name, None)  # Windows lacks some
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._hear)

    def attach(self, child: subprocess.Popen[bytes]) -> None:
        """The launcher is there."""
        self._child = child
        if self.asked_by is not None:
            self._tell(self.asked_by)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.asked_by = number
        self._tell(number)

    def _tell(self, number: int) -> None:
        if self._child is None:
            return
        if number == signal.SIGINT:
            self._child.send_signal(signal.SIGINT)
        elif not self._told:
            self._told = True
            self._child.send_signal(self.stop)


def _bound_to_parent(stop: signal.Signals) -> Callable[[], None] | None:
    """What a launcher does before it becomes one, so that it is told to stop when this process is no more."""
    if LIBC is None:
        return None
    libc, parent = LIBC, os.getpid()

    def bind() -> None:
        libc.prctl(stopping.PR_SET_PDEATHSIG, stop)
        if os.getppid() != parent:  # it was quicker
            os._exit(1)
        if stop == signal.SIGTERM:  # torchrun would die of what Slurm may send to all; the processes listen again
            for number in (signal.SIGUSR1, signal.SIGUSR2):
                signal.signal(number, signal.SIG_IGN)

    return bind
