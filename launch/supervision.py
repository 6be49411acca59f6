"""A launcher and its processes: asked to stop once, never left behind, and ended with the run's own exit code.

    launch.run gets SIGTERM, SIGUSR1, SIGUSR2, SIGHUP   the launcher is signalled once; the processes save and exit
    launch.run gets Ctrl-C                              each one is passed on
    launch.run is killed                                the kernel signals the launcher
    the launcher is killed                              the kernel signals its processes; their end is awaited

A launcher has a session of its own, so that signals which a terminal, `timeout` or a shell send to the whole group
reach it only through this process. Slurm signals either the step's task, which is this process, or all of its processes
(proctrack/cgroup): both work. Free of torch.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from configs import locks, stopping
from configs.errors import ExitCode
from configs.shown import printable
from launch.start import Start, shutdown_seconds
from train.run_folder import causes, status

LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
ENDS: tuple[status.Stored, ...] = ("done", "preempted", "failed")
RESUMABLE = (ExitCode.STOPPED, ExitCode.INTERRUPTED, ExitCode.LOCKED, 128 + signal.SIGTERM)
"""Exit codes of runs that need not fail when they are started again."""
PAUSE = 0.2
"""Seconds between two reads of a status."""


def supervise(start: Start, environment: Mapping[str, str], folder: Path | None) -> int:
    """Start a launcher, pass signals on to it, and return the exit code of its run.

    Args:
        start: The launcher.
        environment: All of its variables.
        folder: Where the run keeps its status. None: the launcher's own exit code counts.

    Raises:
        StoppedError: A signal came before there was a launcher.
    """
    before = _read(folder)
    messenger = Messenger(start.by)
    messenger.listen()
    stopping.heed()  # a signal that came before
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
    if folder is not None and messenger.asked_by is None:
        if state.get("state") == "running":
            state = settled(folder, state, code)
            code = exit_code(launcher, state)
        elif launcher and not state:
            state = unopened(folder, code)
    if state.get("reason") and code:
        said = f"{folder}: {state.get('state')}, exit code {code}: {state['reason']}"
        print(printable(said), file=sys.stderr)
    return code


def settled(folder: Path, state: dict[str, Any], code: int) -> dict[str, Any]:
    """Record the end of a run whose main process could not, unless one still works there; return its status.

    code: that of the run, unless another process of it has said why it ended, and with which.
    """
    if locks.held(folder):
        return state
    cause = causes.first(folder)
    if cause is None:
        reason = "the main process ended without a message: it was killed, or the memory was full"
    else:
        reason, code = str(cause), cause.exit_code
    status.write(folder, "failed", state | {"exit_code": code, "reason": reason})
    return status.read(folder)


def unopened(folder: Path, code: int) -> dict[str, Any]:
    """Record the end of a run that failed before it opened its folder, and return its status.

    Nothing is recorded where there are files of a run: they may be another run's, which refused this one.
    """
    if code in RESUMABLE or not status.is_free(folder):
        return {}
    reason = "it ended before it opened its folder; its log says why"
    with suppress(OSError):  # which may be why
        status.write(folder, "failed", {"exit_code": code, "reason": reason})
    return status.read(folder)


def exit_code(launcher: int, state: Mapping[str, Any], *, asked_by: int | None = None) -> int:
    """The exit code of a run.

    Args:
        launcher: The launcher's return code; negative: the signal that killed it.
        state: The run's status, if it has written one since it was started.
        asked_by: The signal that asked it to stop. Without a status nothing has been done yet, and the same command can
            be started again.
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

    Processes outlive a launcher that was killed. While one of them holds the folder's lock it is saving, and is awaited
    for up to `seconds`.
    """
    until = time.monotonic() + seconds
    while True:
        free = folder is None or not locks.held(folder)
        now = _read(folder)  # in this order: an end is written before the lock is released
        if now.get("starts") == before.get("starts"):  # the status of another run, or of an earlier attempt
            return {} if free else {"state": "failed", "exit_code": ExitCode.LOCKED}
        if free or time.monotonic() >= until:
            return now
        time.sleep(PAUSE)


def _read(folder: Path | None) -> dict[str, Any]:
    """The status in a folder; nothing without a folder."""
    return status.read(folder) if folder else {}


class Messenger:
    """Asks the launcher to stop, once: torchrun abandons its processes at the third SIGTERM."""

    def __init__(self, by: str) -> None:
        self.asked_by: int | None = None
        # srun ends its step at once on SIGTERM, and passes SIGUSR1 on to its tasks.
        self.stop = signal.SIGUSR1 if by == "srun" else signal.SIGTERM
        self._told = False
        self._child: subprocess.Popen[bytes] | None = None

    def listen(self) -> None:
        """Install the handlers, except for signals that are ignored already, as under nohup."""
        for name in (*stopping.SIGNALS, "SIGHUP", "SIGINT"):
            number = getattr(signal, name, None)  # Windows lacks some
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._hear)

    def attach(self, child: subprocess.Popen[bytes]) -> None:
        """Set the launcher; a signal that came before is passed on now."""
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
    """What a launcher calls before exec, so that the kernel signals it when this process dies."""
    if LIBC is None:
        return None
    libc, parent = LIBC, os.getpid()

    def bind() -> None:
        libc.prctl(stopping.PR_SET_PDEATHSIG, stop)
        if os.getppid() != parent:  # the parent has died already
            os._exit(1)
        if stop == signal.SIGTERM:  # torchrun would die of these, which Slurm may send to all processes
            for number in (signal.SIGUSR1, signal.SIGUSR2):
                signal.signal(number, signal.SIG_IGN)

    return bind
