"""Work in processes of its own, whose time and memory are measured, and which can be killed."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

# Forked: this process holds no data set, and a child need not import anything again.
FORK = multiprocessing.get_context("fork")
POLL_SECONDS = 0.05
Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a piece of work took."""

    seconds: float
    cpu_seconds: float
    """CPU time of all threads of its process, which load on the machine changes little."""
    peak_bytes: int
    """The most memory that its process held, with all that Python and its packages take."""
    figures: Figures
    """What the work itself has measured or counted."""


class Failed(Exception):  # noqa: N818 - not an error of this process
    """Work in a process of its own ended with an error, which that process has printed."""


def alone(work: Callable[..., Figures], *arguments: Any) -> Cost:
    """Do `work` in a process of its own."""
    return together(work, [arguments])[0]


def together(work: Callable[..., Figures], arguments: list[tuple[Any, ...]]) -> list[Cost]:
    """Do `work` in as many processes at once."""
    started = [_start(work, own) for own in arguments]
    return [_result(process, receiver) for process, receiver in started]


def killed(work: Callable[..., Figures], *arguments: Any, when: Callable[[], bool]) -> float:
    """Start `work` in a process of its own and kill it `when` it is time; return the seconds until then."""
    begun = time.monotonic()
    process, receiver = _start(work, arguments)
    while process.is_alive() and not when():
        time.sleep(POLL_SECONDS)
    if process.is_alive() and process.pid is not None:
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    receiver.close()
    return time.monotonic() - begun


def _start(work: Callable[..., Figures], arguments: tuple[Any, ...]) -> tuple[ForkProcess, Connection]:
    receiver, sender = FORK.Pipe(duplex=False)
    process = FORK.Process(target=_measured, args=(sender, work, arguments))
    process.start()
    sender.close()
    return process, receiver


def _result(process: ForkProcess, receiver: Connection) -> Cost:
    try:
        cost: Cost | None = receiver.recv()
    except EOFError:
        cost = None
    process.join()
    receiver.close()
    if cost is None:
        raise Failed(f"a process of this measurement ended with code {process.exitcode}")
    return cost


def _measured(sender: Connection, work: Callable[..., Figures], arguments: tuple[Any, ...]) -> None:
    _forget_peak()
    begun, cpu = time.monotonic(), time.process_time()
    figures = work(*arguments)
    seconds, cpu = time.monotonic() - begun, time.process_time() - cpu
    unit = 1 if sys.platform == "darwin" else 1024
    sender.send(Cost(seconds, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, figures))


def _forget_peak() -> None:
    """Set the peak to what is held now (Linux): a forked process begins with all that its parent held, used or not."""
    with contextlib.suppress(OSError), Path("/proc/self/clear_refs").open("w", encoding="ascii") as file:
        file.write("5")
