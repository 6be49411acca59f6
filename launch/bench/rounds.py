"""Variants of the same work, measured in turn so that other load on the machine affects all of them alike.

Every round runs every variant once, starting with a different one. Ratios are taken within a round; the report has the
median over rounds with minimum and maximum.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self


@dataclass(frozen=True, slots=True)
class Lap:
    """One variant in one round."""

    images: int
    seconds: float
    cpu_seconds: float | None
    """CPU time of this process and its workers; None where that of workers cannot be read."""

    @property
    def rate(self) -> float:
        """Images per second."""
        return self.images / self.seconds


class Variant(Protocol):
    """One way of doing the work."""

    def lap(self, images: int) -> Lap:
        """Do the work on so many images; none of it may begin earlier or continue afterwards."""
        ...

    def close(self) -> None:
        """End its threads and processes."""
        ...


class Stopwatch:
    """Wall and CPU time since construction. `settle` waits for asynchronous work of the device."""

    def __init__(self, settle: Callable[[], None]) -> None:
        settle()
        self._settle = settle
        self._cpu, self._wall = cpu_seconds(), time.perf_counter()

    def lap(self, images: int) -> Lap:
        """The time it took for these images."""
        self._settle()
        wall, cpu = time.perf_counter(), cpu_seconds()
        spent = None if cpu is None or self._cpu is None else cpu - self._cpu
        return Lap(images, wall - self._wall, spent)


def cpu_seconds(processes: Path = Path("/proc")) -> float | None:
    """CPU time so far of this process and of its living worker processes; None if a worker's cannot be read.

    getrusage counts only children that have ended.
    """
    total = time.process_time()
    for worker in multiprocessing.active_children():
        try:
            fields = (processes / str(worker.pid) / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            return None
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime: man 5 proc
    return total


def rotated(names: Sequence[str], number: int) -> list[str]:
    """The order of round `number`: each begins with the next variant."""
    start = number % max(len(names), 1)
    return [*names[start:], *names[:start]]


def measure(
    variants: Mapping[str, Variant],
    rounds: int,
    *,
    images: int,
    seconds: float,
    show: Callable[[str, int], None] = lambda name, number: None,
) -> dict[str, list[Lap]]:
    """Laps of each variant: multiples of `images` that take about `seconds` or more, after one lap thrown away."""
    size = {}
    for name, variant in variants.items():
        show(name, 0)
        size[name] = images * max(1, math.ceil(variant.lap(images).rate * seconds / images))
    laps: dict[str, list[Lap]] = {name: [] for name in variants}
    for number in range(rounds):
        for name in rotated(list(variants), number):
            show(name, number + 1)
            laps[name].append(variants[name].lap(size[name]))
    return laps


def progress(show: Callable[[str], None], rounds: int) -> Callable[[str, int], None]:
    """For `measure`: says in words which variant runs in which round."""
    return lambda name, number: show(f"{name}: " + (f"round {number} of {rounds}" if number else "warm-up"))


@dataclass(frozen=True, slots=True)
class Spread:
    """Median over rounds, smallest and largest."""

    median: float
    low: float
    high: float

    @classmethod
    def over(cls, values: Sequence[float]) -> Self:
        """The spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values))


def rates(laps: Sequence[Lap]) -> Spread:
    """Images per second."""
    return Spread.over([lap.rate for lap in laps])


def cpu_ms(laps: Sequence[Lap]) -> float | None:
    """Median CPU milliseconds per image; None where they are not known."""
    known = [1e3 * lap.cpu_seconds / lap.images for lap in laps if lap.cpu_seconds is not None]
    return statistics.median(known) if len(known) == len(laps) else None


@dataclass(frozen=True, slots=True)
class Goal:
    """A ratio of rates to reach: `variant` over the best of `against`."""

    name: str
    variant: str
    against: tuple[str, ...]
    least: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """The measured ratio of a goal, and the variant it was measured against."""

    goal: Goal
    against: str
    spread: Spread


def ratios(goals: Sequence[Goal], laps: Mapping[str, Sequence[Lap]]) -> list[Ratio]:
    """Ratios of the goals whose variants were measured, against the rival with the best median."""
    found = []
    for goal in goals:
        rivals = [name for name in goal.against if name in laps]
        if goal.variant in laps and rivals:
            best = max(rivals, key=lambda name: rates(laps[name]).median)
            pairs = zip(laps[goal.variant], laps[best], strict=True)
            found.append(Ratio(goal, best, Spread.over([own.rate / other.rate for own, other in pairs])))
    return found
