"""Elements of an array, run on this machine. Free of torch."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
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

    run_id: str
    number: int
    child: subprocess.Popen[bytes]
    share: Mapping[str, str]
    """Variables that say what it may use."""


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
    waiting = deque(enumerate(listed, start=1))
    free, running = deque(shares), list[Running]()
    failed: dict[int, str] = {}
    while waiting or running:
        while waiting and free:
            number, (run_id, element) = waiting.popleft()
            log = logs / f"{run_id}.log" if len(shares) > 1 else None
            where = f"; {log}" if log else ""
            print(printable(f"run {number} of {len(listed)}: {run_id}{where}"), flush=True)
            share = free.popleft()
            running.append(Running(run_id, number, _start(element, share, log), share))
        ended = _wait(running)
        if reason := stopping.requested():
            named = ", ".join(f"{one.run_id}, run {one.number} of {len(listed)}" for one in [*ended, *running])
            _end(running, reason)
            raise stopping.StoppedError(f"{reason} in {named}; start it again to go on")
        for one in ended:
            free.append(one.share)
            if code := one.child.returncode:
                failed[one.number] = f"{one.run_id} (exit code {code})"
                if len(shares) > 1:
                    print(printable(f"run {one.number} of {len(listed)}: {failed[one.number]}"), flush=True)
    if failed:
        named = ", ".join(failed[number] for number in sorted(failed))
        raise NotDoneError(f"{len(failed)} of {len(listed)} runs did not come to their end: {named}")


def _start(element: Path, share: Mapping[str, str], log: Path | None) -> subprocess.Popen[bytes]:
    words = ["bash", "-c", SCRIPT, "bash", str(element), sys.executable]
    with ExitStack() as opened:
        output = opened.enter_context(log.open("ab")) if log else None
        errors = subprocess.STDOUT if log else None
        return subprocess.Popen(words, env={**os.environ, **share}, stdout=output, stderr=errors)


def _wait(running: list[Running]) -> list[Running]:
    """Wait until some have ended or a signal came; return those that have ended, and take them out of the list."""
    try:
        while not (ended := [one for one in running if one.child.poll() is not None]) and not stopping.requested():
            time.sleep(PAUSE)
    except KeyboardInterrupt:  # the second; they have received it as well
        _wait_for_all(running)
        raise
    running[:] = [one for one in running if one not in ended]
    return ended


def _end(running: Sequence[Running], reason: str) -> None:
    """Tell all to stop, and wait for them."""
    if not reason.startswith("SIGINT"):  # the terminal sends it to them as well
        for one in running:
            one.child.terminate()
    try:
        _wait_for_all(running)
    except KeyboardInterrupt:
        _wait_for_all(running)
        raise


def _wait_for_all(running: Sequence[Running]) -> None:
    for one in running:
        one.child.wait()
