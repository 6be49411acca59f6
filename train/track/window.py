"""Sums of what micro-batches have measured, on the device: of a window between two log lines, and of an epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from accelerate import Accelerator
from torch import Tensor

OF_IMAGES = frozenset({"accuracy", "agreement"})
"""Measurements that are sums over the images of a micro-batch; all others are one value of a micro-batch."""
MAY_OVERFLOW = frozenset({"gradient_norm"})
"""Measurements of which values that are not finite are left out: with fp16, the scale is found by overflows."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums by name, and the number of values that each is the sum of."""

    sums: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, Tensor | float] = field(default_factory=dict)

    @classmethod
    def resumed(cls, saved: Mapping[str, tuple[float, float]], accelerator: Accelerator) -> Totals:
        """Return totals that `reduced` gave for a checkpoint: all on the main process, and zero on the others."""
        share = float(accelerator.is_main_process)
        shared = {name: (share * total, share * count) for name, (total, count) in saved.items()}
        sums = {
            name: torch.tensor(total, dtype=torch.float64, device=accelerator.device)
            for name, (total, _) in shared.items()
        }
        return cls(sums, {name: count for name, (_, count) in shared.items()})

    def add(self, name: str, value: Tensor, count: int) -> None:
        """Add a value that is the sum of `count`, without a wait for the device."""
        number: Tensor | float = count
        if name in MAY_OVERFLOW:
            finite = value.isfinite()
            value, number = torch.where(finite, value, 0), finite.double() * count
        self.sums[name] = self.sums.get(name, 0.0) + value.double()
        self.counts[name] = self.counts.get(name, 0.0) + number

    def plus(self, other: Totals) -> Totals:
        """Return the totals of both."""
        sums, counts = dict(self.sums), dict(self.counts)
        for name, total in other.sums.items():
            sums[name] = sums[name] + total if name in sums else total
            counts[name] = counts.get(name, 0.0) + other.counts[name]
        return Totals(sums, counts)

    def reduced(self, accelerator: Accelerator) -> dict[str, tuple[float, float]]:
        """Return sum and count over all processes, by name. Collective."""
        if not self.sums:
            return {}
        counts = [torch.as_tensor(n, dtype=torch.float64, device=accelerator.device) for n in self.counts.values()]
        values = torch.stack([*self.sums.values(), *counts])
        reduced = accelerator.reduce(values, reduction="sum").tolist()  # sync: log step
        return {name: (reduced[i], reduced[len(counts) + i]) for i, name in enumerate(self.sums)}


def means(reduced: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """Return the mean of each measurement; NaN where every value was left out."""
    return {name: total / count if count else math.nan for name, (total, count) in reduced.items()}


@dataclass(kw_only=True, slots=True)
class Window:
    """Measurements since the last log line, and whether every loss was finite; all on the device."""

    finite: Tensor
    first_step: int
    totals: Totals = field(default_factory=Totals)
    mark: float = field(default_factory=time.monotonic)
    """Time at which the clock was last read."""

    def add(self, measurements: Mapping[str, Tensor], images: int) -> None:
        """Add one micro-batch of so many images, without padding."""
        self.finite &= torch.isfinite(measurements["loss"])
        for name, value in measurements.items():
            self.totals.add(name, value, images if name in OF_IMAGES else 1)

    def stop_clock(self) -> float:
        """Return the seconds since the last call."""
        before, self.mark = self.mark, time.monotonic()
        return self.mark - before
