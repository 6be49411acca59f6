"""Host syncs by place, and a profile as a list of events: torch.cuda.set_sync_debug_mode and torch.profiler."""

from __future__ import annotations

import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from launch.bench.gpu.child import ROOT

SYNC = "synchronizing CUDA operation"
PACKAGES = {"configs", "data_pipes", "models", "train", "launch"}
CLOCK = ("launch/bench/work.py", "launch/bench/rounds.py")
"""The lap's own waiting for the device."""


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of a profile."""

    name: str
    on_device: bool
    start: float
    """Microseconds."""
    end: float


def syncs(work: Callable[[], None]) -> Counter[str]:
    """Host syncs during `work` by the line of this repository that causes them."""
    places: Counter[str] = Counter()
    with _heard(places):
        torch.cuda.set_sync_debug_mode("warn")
        try:
            work()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return places


@contextmanager
def _heard(places: Counter[str]) -> Iterator[None]:
    def hear(message: Any, *_: Any, **__: Any) -> None:
        place = where() if SYNC in str(message) else None
        if place is not None:
            places[place] += 1

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = hear
        yield


def where() -> str | None:
    """The innermost line of this repository below this module: who caused the warning; None: the lap's own clock."""
    for frame in reversed(traceback.extract_stack()):
        path = Path(frame.filename)
        if path == Path(__file__) or not path.is_relative_to(ROOT):
            continue
        own = path.relative_to(ROOT)
        if own.parts[0] in PACKAGES:
            return None if own.as_posix() in CLOCK else f"{own.as_posix()}:{frame.lineno}"
    return "elsewhere"


def events(work: Callable[[], None], *, cuda: bool) -> list[Event]:
    """Profile `work`. Ranges that the profiler names itself are left out."""
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=kinds) as trace:
        work()
    return [
        Event(str(one.name), one.device_type.name == "CUDA", one.time_range.start, one.time_range.end)
        for one in trace.events() or []
        if not getattr(one, "is_user_annotation", False)
    ]


def busy(events: Iterable[Event]) -> float:
    """Microseconds during which at least one of the events runs."""
    total, until = 0.0, float("-inf")
    for event in sorted(events, key=lambda event: event.start):
        total += max(0.0, event.end - max(event.start, until))
        until = max(until, event.end)
    return total
