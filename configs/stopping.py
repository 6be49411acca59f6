"""Being asked to stop: by a signal, by the end of a time limit, by the death of the launcher.

A handler only notes that it was called; whoever works looks at `requested` where stopping is safe. Free of torch, and
installed before torch is imported: until then a signal would end the process with nothing said.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from types import FrameType

from configs.errors import ExitCode, UserError

SIGNALS = ("SIGTERM", "SIGUSR1", "SIGUSR2")
PR_SET_PDEATHSIG = 1

_asked: list[str] = []
_deadline: list[float] = []


class StoppedError(UserError):
    """Work was stopped in an orderly way; the same command goes on with it."""

    exit_code = ExitCode.STOPPED


def install() -> None:
    """Note signals instead of dying of them, and take the death of a launcher for one."""
    for name in SIGNALS:
        if hasattr(signal, name):  # Windows lacks some
            signal.signal(getattr(signal, name), _note)
    if "TORCHELASTIC_RUN_ID" in os.environ and sys.platform == "linux":
        # Without it, workers of a launcher that was killed train on as orphans.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() == 1:
            _asked.append("the launcher is gone")


def limit(minutes: float | None) -> None:
    """Stop after so many minutes from now."""
    _deadline[:] = [] if minutes is None else [time.monotonic() + 60 * minutes]


def requested() -> str | None:
    """Why this process should stop; None: go on."""
    if _asked:
        return _asked[0]
    return "max_minutes is over" if _deadline and time.monotonic() >= _deadline[0] else None


def _note(number: int, frame: FrameType | None) -> None:
    _asked.append(f"{signal.Signals(number).name} was received")
