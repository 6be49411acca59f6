"""The curves of metrics.jsonl, over epochs. Free of torch."""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from configs.files import read_regular

LARGEST = 2**28
"""Bytes of metrics.jsonl that are read."""
Points = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Curves:
    """Points (epoch, value) of each metric by its name."""

    points: Mapping[str, Points] = field(default_factory=dict)
    epochs: float = 0.0
    """Epochs that are finished."""

    def __getitem__(self, name: str) -> Points:
        return self.points.get(name, [])

    def names(self, prefix: str) -> list[str]:
        """Names of metrics that begin like this and have a point."""
        return sorted(name for name, points in self.points.items() if name.startswith(prefix) and points)


def read(path: Path) -> Curves:
    """Read the curves of a run. Lines that are damaged, and values that are no numbers, are left out."""
    try:
        lines = read_regular(path, LARGEST).decode(errors="replace").splitlines()
    except OSError:
        return Curves()
    return of(record for record in map(_record, lines) if record is not None)


def of(records: Iterable[Mapping[str, Any]]) -> Curves:
    """Order the numbers of log lines by metric, at the epochs that their steps belong to."""
    lines = list(records)
    ends = sorted({(step, epoch) for line in lines if (epoch := number(line.get("epoch"))) and (step := _step(line))})
    points: dict[str, Points] = {}
    for line in lines:
        place = _epoch(_step(line), ends)
        for name, found in line.items():
            value = number(found)
            if value is not None and name not in ("train/step", "epoch"):
                points.setdefault(name, []).append((place, value))
    return Curves({name: sorted(found) for name, found in points.items()}, ends[-1][1] if ends else 0.0)


def joined(parts: Iterable[Curves]) -> tuple[Curves, list[float]]:
    """Put the curves of runs that followed each other one after another; return also where each begins."""
    points: dict[str, Points] = {}
    start, starts = 0.0, []
    for part in parts:
        starts.append(start)
        for name, found in part.points.items():
            points.setdefault(name, []).extend((start + x, y) for x, y in found)
        start += part.epochs
    return Curves(points, start), starts


def number(value: Any) -> float | None:
    """A finite number; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < math.inf:
        return None
    return float(value)


def _record(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _step(line: Mapping[str, Any]) -> float:
    return number(line.get("train/step")) or 0.0


def _epoch(step: float, ends: list[tuple[float, float]]) -> float:
    """The epoch of a step, between the ends of two; beyond the last, at its pace. Without any end, the step itself."""
    if not ends:
        return step
    after = bisect_left(ends, (step, 0.0))
    if after == len(ends):
        return step * ends[-1][1] / ends[-1][0]
    (low, before), (high, reached) = ((0.0, 0.0), *ends)[after], ends[after]
    return before + (reached - before) * (step - low) / (high - low)
