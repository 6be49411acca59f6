"""Elements of an array, run on this machine. Free of torch."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from configs import stopping
from configs.errors import UserError
from configs.shown import printable

PAUSE = 0.2
"""Seconds between two checks for a signal."""
SCRIPT = 'source "$1" && exec "$2" -m "${words[@]}"'
"""Of bash: the arguments are an element's file and a Python."""


class NotDoneError(UserError):
    """Some runs of a sweep failed or stopped."""


@dataclass(frozen=True, slots=True)
class Running:
    """A run that was started."""

    name: str
    child: subprocess.Popen[bytes]
    share: Mapping[str, str]
    """Variables that say what it may use."""
    log: Path | None
    """None: its output goes to the terminal."""

    @property
    def failure(self) -> str | None:
        """What to say if it has failed."""
        code = self.child.returncode
        where = f", see {self.log}" if self.log else ""
        return f"{self.name}: exit code {code if code > 0 else 128 - code}{where}" if code else None


def run(elements: Iterable[tuple[str, Path]], shares: Sequence[Mapping[str, str]], logs: Path) -> None:
    """Run all elements, given as run ids and element files; a failure does not stop the others.

    Args:
        elements: They start in this order.
        shares: Variables for the environment, for each of the runs that run at a time. The output of a single one
            goes to the terminal.
        logs: Folder for the output of several; each is appended to LOGS/ID.log.

    Raises:
        NotDoneError: Some failed or stopped; they are named.
        StoppedError: A signal came; it was passed on to the running elements, and the others have not begun.
    """
    stopping.install()
    listed = list(elements)
    waiting, free = deque(enumerate(listed, start=1)), deque(shares)
    running: list[Running] = []
    failed: list[str] = []
    try:
        while (waiting or running) and not stopping.requested():
            while waiting and free and not stopping.requested():
                number, (run_id, element) = waiting.popleft()
                log = logs / f"{run_id}.log" if len(shares) > 1 else None
                print(printable(f"run {number} of {len(listed)}: {run_id}{f'; {log}' if log else ''}"), flush=True)
                share = free.popleft()
                running.append(
                    Running(f"{run_id} (run {number} of {len(listed)})", _start(element, share, log), share, log)
                )
            failed += _collect(running, free)
        _end(running, terminate=not str(stopping.requested()).startswith("SIGINT"))  # which the terminal sends to all
    except BaseException:
        _end(running, terminate=True)
        raise
    stopped = [one.name for one in running if one.child.returncode]
    if stopped or waiting:
        where = f" in {', '.join(stopped)}" if stopped else ""
        lost = f"; before that, {_not_done(failed, listed)}" if failed else ""
        raise stopping.StoppedError(f"{stopping.requested()}{where}; start it again to go on{lost}")
    if failed:
        raise NotDoneError(_not_done(failed, listed))


def _not_done(failed: Sequence[str], listed: Sequence[object]) -> str:
    return f"{len(failed)} of {len(listed)} runs did not come to their end: {'; '.join(failed)}"


def _start(element: Path, share: Mapping[str, str], log: Path | None) -> subprocess.Popen[bytes]:
    words = ["bash", "-c", SCRIPT, "bash", str(element), sys.executable]
    environment = {**os.environ, **share}
    if log is None:
        return subprocess.Popen(words, env=environment)
    with log.open("ab") as output:
        return subprocess.Popen(words, env=environment, stdout=output, stderr=subprocess.STDOUT)


def _collect(running: list[Running], free: deque[Mapping[str, str]]) -> list[str]:
    """Wait until a run has ended, or a signal came, which is all that is done then.

    Free the shares of those that have ended, and return what failed.
    """
    while not (ended := [one for one in running if one.child.poll() is not None]) and not stopping.requested():
        time.sleep(PAUSE)
    if stopping.requested():
        return []
    free.extend(one.share for one in ended)
    running[:] = [one for one in running if one not in ended]
    failed = [failure for one in ended if (failure := one.failure)]
    for failure in failed:
        print(printable(failure), flush=True)
    return failed


def _end(running: Sequence[Running], *, terminate: bool) -> None:
    """Wait for all, having told them to stop if asked to."""
    for one in running if terminate else ():
        one.child.terminate()
    for one in running:
        one.child.wait()
