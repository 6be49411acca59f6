"""Points with several seeds: each of them once for every seed from 0 on. Pure, and free of torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from configs.errors import UsageError, require
from launch.points.grid import Point, identified
from launch.points.parameters import MAX_POINTS

KEY = "seed"


def times(points: Sequence[Point], seeds: int) -> list[Point]:
    """Return each point with the seeds 0 to seeds - 1, beside each other.

    An id depends on its point and its seed alone, so that more seeds add points and change none.

    Raises:
        UsageError: There are no seeds, or too many points.
    """
    require(1 <= seeds * len(points) <= MAX_POINTS, "--seeds", seeds, f"at least 1, and {MAX_POINTS:,} runs at most")
    return [
        Point(identified(f"{point.id} {KEY} {seed}"), {**point.overrides, KEY: str(seed)})
        for point in points
        for seed in range(seeds)
    ]


def require_free(words: Iterable[str], points: Iterable[Point], place: str | None) -> None:
    """UsageError: the seed is given already, by an option of the command or by a sweep. place: file and line of it."""
    for word in words:
        if word == f"--{KEY}" or word.startswith(f"--{KEY}="):
            raise UsageError(f"--{KEY} and --seeds are both given; leave one out: --seeds 5 trains with seeds 0 to 4")
    if any(KEY in point.overrides for point in points):
        where = f"{place}: " if place else ""
        raise UsageError(f"{where}the sweep sets {KEY}, and --seeds is given; leave one out")
