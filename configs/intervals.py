"""Confidence intervals of shares."""

from __future__ import annotations

import math


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
