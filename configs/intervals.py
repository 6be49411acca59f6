"""Confidence intervals of shares."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
"""97.5 % quantiles of Student's t for 1, 2, 3, ... degrees of freedom."""


def wilson(correct: int, count: int, *, z: float = 1.96) -> tuple[float, float]:
    """Return Wilson's score interval of a share (Wilson 1927); z = 1.96 for 95 %."""
    if count == 0:
        return 0.0, 1.0
    share, weight = correct / count, z * z / count
    centre = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(share * (1 - share) / count + weight / (4 * count))
    return max(0.0, centre - half), min(1.0, centre + half)


def near_chance(correct: int, count: int, classes: int) -> bool:
    """Whether a share of correct answers cannot be told from guessing, or is below it: by its 95 % interval."""
    return wilson(correct, count)[0] <= 1 / classes


def of_mean(values: Sequence[float]) -> tuple[float, float]:
    """Return Student's 95 % interval of the mean of two values or more, such as accuracies over seeds."""
    freedom = len(values) - 1
    quantile = T_975[freedom - 1] if freedom <= len(T_975) else _quantile(freedom)
    half = quantile * statistics.stdev(values) / math.sqrt(len(values))
    mean = statistics.fmean(values)
    return mean - half, mean + half


def _quantile(freedom: int) -> float:
    """The quantile for many degrees of freedom, by Cornish and Fisher's expansion; exact to 1e-4 from 15 on."""
    z = 1.959964
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
