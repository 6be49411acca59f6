"""One process with a time limit, which ends with everything that it started. Free of torch."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.shown import printable

ROOT = Path(__file__).parents[3]
GRACE = 5
"""Seconds between SIGTERM, at which a part writes down where it is, and SIGKILL."""
LAST = 4000  # bytes of the output that are looked at
SAID = 300  # characters that are shown


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended."""

    code: int | None
    """Exit code; negative: the signal that killed it; None: its time was over."""
    seconds: float
    said: str
    """Last line of its output."""


def environment(device: str, work: Path, inherited: Mapping[str, str]) -> dict[str, str]:
    """Variables of a part: this source tree comes first, its caches are in `work`, and on the CPU GPUs are hidden."""
    given = [str(Path(one).absolute()) for one in inherited.get("PYTHONPATH", "").split(os.pathsep) if one]
    path = os.pathsep.join([str(ROOT), *given])  # parts run in the source tree
    made = {**inherited, "PYTHONPATH": path, "HEARTCUT_CACHE": str(work / "cache"), "PYTHONUNBUFFERED": "1"}
    return made | ({"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {})


def python(module: str, *words: object) -> list[str]:
    """The command that runs a module in a process of its own."""
    return [sys.executable, "-m", module, *map(str, words)]


def run(words: Sequence[str], variables: Mapping[str, str], log: Path, seconds: float) -> Ended:
    """Run a command in the source tree, its output in `log`; end it after `seconds`, and its children in any case."""
    start = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(
            words,
            env=dict(variables),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
            _tell(process, signal.SIGTERM)
        finally:
            _tell(process, signal.SIGKILL)
    return Ended(code, time.monotonic() - start, last_line(log))


def last_line(log: Path) -> str:
    """The last line that was written; nothing if there is none."""
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - LAST, 0))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return printable(lines[-1])[-SAID:] if lines else ""


def _tell(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal the whole group, and wait a moment for its leader."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
    with contextlib.suppress(subprocess.TimeoutExpired):  # a process may hang in its driver
        process.wait(GRACE)
