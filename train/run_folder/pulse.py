"""Signs of life of the processes of a run: which of them is stopped, or on a node that hangs. Free of torch.

RUN/.alive-process-3   "HOST, pid PID"; touched every few seconds by process 3

The others are held in a collective operation by a process that does not answer, and cannot tell which one it is. Each
looks at all files as often as it touches its own, so that a run that is suspended as a whole goes on afterwards.
"""

from __future__ import annotations

import os
import platform
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from configs.errors import ExitCode, UserError
from configs.shown import printable

NAME = ".alive-process-{}"
LONGEST = 300.0
"""Seconds of silence after which a process is given up; fewer where processes do not wait so long for one another."""
SHARE = 20
"""Signs of life in that time."""
_seconds = [LONGEST]
_active: list[Path] = []

Last = Callable[[Path, int, UserError], None]


class SilentError(UserError):
    """A process of the run gives no sign of life."""

    exit_code = ExitCode.UNAVAILABLE


class Pulse:
    """Files of one process and of those that it watches."""

    def __init__(self, folder: Path, process: int, processes: int, seconds: float) -> None:
        self._own, self._seconds = folder / NAME.format(process), seconds
        self._others = {n: folder / NAME.format(n) for n in range(processes) if n != process}
        self._seen = {n: _time(path) for n, path in self._others.items()}
        self._missed = dict.fromkeys(self._others, 0)
        with suppress(OSError):  # a full disk takes no text, and still the time of a touch
            self._own.write_text(f"{platform.node()}, pid {os.getpid()}", encoding="utf-8")

    def beat(self) -> list[int]:
        """Give a sign of life, and return the processes that have given none for as long as they may."""
        with suppress(OSError):
            self._own.touch()
        for number, path in self._others.items():
            now = _time(path)
            self._missed[number] = self._missed[number] + 1 if now == self._seen[number] else 0
            self._seen[number] = now
        return [number for number, missed in self._missed.items() if missed >= SHARE]

    def error(self, silent: list[int]) -> SilentError:
        """Return the error that names silent processes."""
        named = ", ".join(f"{number} ({_text(self._others[number])})" for number in silent)
        what = "process" if len(silent) == 1 else "processes"
        return SilentError(
            f"{what} {named} gave no sign of life for {self._seconds:.0f} s: stopped, or the node hangs. The same "
            "command goes on from the last checkpoint"
        )

    def end(self) -> None:
        """Remove this process's file."""
        with suppress(OSError):
            self._own.unlink(missing_ok=True)


def limit(minutes: float) -> None:
    """Give silent processes up before others have waited for them for so many minutes: after half, or LONGEST."""
    _seconds[:] = [min(60 * minutes / 2, LONGEST)]


@contextmanager
def watched(folder: Path, process: int, processes: int, last: Last) -> Iterator[None]:
    """Watch the other processes of a run from a thread, which ends this process if one of them is silent.

    Args:
        folder: The run folder; within another one that is watched, only its end is recorded too.
        process: The number of this process.
        processes: How many there are; with one, nothing is watched.
        last: Called before the end for each folder, the innermost first, with this process and the error.
    """
    if processes == 1:
        yield
        return
    _active.append(folder)
    done = threading.Event()
    if len(_active) == 1:
        folder.mkdir(parents=True, exist_ok=True)
        pulse = Pulse(folder, process, processes, _seconds[0])
        pause = _seconds[0] / SHARE
        threading.Thread(target=_watch, args=(pulse, process, pause, done, last), name="pulse", daemon=True).start()
    try:
        yield
    finally:
        _active.remove(folder)
        done.set()


def _watch(pulse: Pulse, process: int, pause: float, done: threading.Event, last: Last) -> None:
    silent: list[int] = []
    while not silent and not done.wait(pause):
        silent = pulse.beat()
    pulse.end()
    if silent and not done.is_set():
        error = pulse.error(silent)
        for folder in reversed(_active):
            with suppress(OSError):
                last(folder, process, error)
        if all(number in silent for number in range(process)):  # one process says it for all
            print(printable(f"error: {error}"), file=sys.stderr, flush=True)
        os._exit(error.exit_code)  # the main thread is held, and nothing else would free it


def _time(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")[:200]
    except (OSError, ValueError):
        return "it has not begun"
