"""The elements of an array run here, one after another, without Slurm. Free of torch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from configs import stopping
from configs.errors import UserError

PAUSE = 0.2
"""Seconds between two looks at whether to stop."""
SCRIPT = 'source "$1" && exec "$2" -m "${words[@]}"'
"""Of bash: the arguments are an element's file and a Python."""


class NotDoneError(UserError):
    """Runs of a sweep did not come to their end."""


def run(elements: Iterable[tuple[str, Path]]) -> None:
    """Run all elements, given by the run's id and the element's file; one that fails does not stop the others.

    Raises:
        NotDoneError: Some did not come to their end; which.
        StoppedError: A signal asked for an end; the element that ran was told so, and the others wait.
    """
    stopping.install()
    listed = list(elements)
    failed: dict[str, int] = {}
    for number, (run_id, element) in enumerate(listed, start=1):
        print(f"run {number} of {len(listed)}: {run_id}", flush=True)
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
                if stopping.requested() and not told:
                    told = True
                    child.terminate()
            except KeyboardInterrupt:  # the child has heard it as well
                child.wait()
                raise
