"""Requests to stop: a signal, Ctrl-C, the end of a time limit, the death of the launcher.

Handlers only record the request; work checks `requested` wherever it can stop safely. A second Ctrl-C ends the process
at once. Commands install them before they import anything else: until then a signal ends the process without a message.
"""

from __future__ import annotations

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
    """Work stopped in an orderly way; the same command continues it."""

    exit_code = ExitCode.STOPPED


def install() -> None:
    """Record signals and the first Ctrl-C instead of dying of them; the death of a launcher counts as a signal."""
    for name in SIGNALS:
        if hasattr(signal, name):  # Windows lacks some
            signal.signal(getattr(signal, name), _note)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell ignores it in background jobs
        signal.signal(signal.SIGINT, _interrupt)
    _mask("SIG_UNBLOCK")  # a signal that came while this process was being started is received now
    if "TORCHELASTIC_RUN_ID" in os.environ and sys.platform == "linux":
        import ctypes  # as long to import as all of this module

        # Without it, workers of a killed launcher train on as orphans.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() == 1:
            _asked.append("the launcher is gone")


def hold() -> None:
    """Keep signals back while another program takes this process's place: its `install` lets them in."""
    _mask("SIG_BLOCK")


def limit(minutes: float | None) -> None:
    """Request a stop in so many minutes; null: never."""
    _deadline[:] = [] if minutes is None else [time.monotonic() + 60 * minutes]


def requested() -> str | None:
    """Reason to stop; None: continue."""
    if _asked:
        return _asked[0]
    return "max_minutes is over" if _deadline and time.monotonic() >= _deadline[0] else None


def heed() -> None:
    """Raise StoppedError if a stop was requested."""
    if reason := requested():
        raise StoppedError(f"stopped: {reason}. The same command goes on from here")


def _mask(how: str) -> None:
    if hasattr(signal, "pthread_sigmask"):  # Windows lacks it
        signal.pthread_sigmask(getattr(signal, how), {getattr(signal, name) for name in SIGNALS})


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _note(number, frame)
    if os.environ.get("RANK", "0") == "0":
        os.write(2, b"\nCtrl-C: saving and leaving; once more to leave at once\n")  # print may be running already


def _note(number: int, frame: FrameType | None) -> None:
    _asked.append(f"{signal.Signals(number).name} was received")
