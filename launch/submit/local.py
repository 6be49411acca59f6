"""Elements of an array, run on this machine one after another. Free of torch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
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


def run(elements: Iterable[tuple[str, Path]]) -> None:
    """Run all elements, given as run ids and element files; a failure does not stop the others.

    Raises:
        NotDoneError: Some failed or stopped; they are named.
        StoppedError: A signal came; it was passed on to the running element, and the others have not begun.
    """
    stopping.install()
    listed = list(elements)
    failed: dict[str, int] = {}
    for number, (run_id, element) in enumerate(listed, start=1):
        print(printable(f"run {number} of {len(listed)}: {run_id}"), flush=True)
        code = _run(element)
        if reason := stopping.requested():
            raise stopping.StoppedError(f"{reason} in {run_id}, run {number} of {len(listed)}; start it again to go on")
        if code:
            failed[run_id] = code
    if failed:
        named = ", ".join(f"{run_id} (exit code {code})" for run_id, code in failed.items())
        raise NotDoneError(f"{len(failed)} of {len(listed)} runs did not come to their end: {named}")


def _run(element: Path) -> int:
    with subprocess.Popen(["bash", "-c", SCRIPT, "bash", str(element), sys.executable]) as child:
        told = False
        while True:
            try:
                return child.wait(PAUSE)
            except subprocess.TimeoutExpired:
                reason = stopping.requested()
                if reason and not told:
                    told = True
                    if not reason.startswith("SIGINT"):  # the terminal sends it to the child as well
                        child.terminate()
            except KeyboardInterrupt:  # the second; the child has received it as well
                child.wait()
                raise
