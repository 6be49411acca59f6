"""The points of a sweep: pure, without a server and free of torch.

A point's id is a hash of its overrides. It does not depend on other points, the order of keys or the notation of
numbers, so that a longer sweep keeps the runs of a shorter one.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from configs import reader, yaml_text
from configs.errors import UsageError, require
from launch.points.parameters import MAX_POINTS
from launch.points.sweep_file import Sweep

ID_LENGTH = 12
FRUITLESS_DRAWS = 100_000
"""Number of repeated draws in a row after which the space counts as exhausted."""
MAX_SEED = 2**63


def identified(text: str) -> str:
    """Return the id of what a text describes."""
    return hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]


@dataclass(frozen=True, slots=True)
class Point:
    """One run of a sweep: values by dotted key, as on a command line."""

    id: str
    overrides: Mapping[str, str]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Point:
        """Make a point of plain values."""
        canonical = json.dumps({key: _canonical(value) for key, value in values.items()}, sort_keys=True)
        return cls(identified(canonical), {key: _text(value) for key, value in values.items()})

    @property
    def words(self) -> list[str]:
        """The overrides as options."""
        return [f"--{key}={text}" for key, text in self.overrides.items()]


@dataclass(frozen=True, slots=True)
class Expansion:
    """The points of a sweep, and the number of duplicates."""

    points: tuple[Point, ...]
    folded: int
    notes: tuple[str, ...]
    """Remarks: points left out, keys of the file without effect."""


def expand(sweep: Sweep, *, count: int | None = None, seed: int = 0) -> Expansion:
    """Return all points of a grid, or `count` of a random sweep; the first ones do not depend on how many.

    Raises:
        UsageError: The method needs wandb's agents, the number of points is missing, or it cannot be had.
    """
    if sweep.method == "bayes":
        raise UsageError(f"{sweep.path}: method is bayes, which needs wandb's agents: launch.sweep; here: grid, random")
    notes = ["early_terminate has no effect without wandb's agents"] if sweep.early_terminate else []
    if sweep.method == "grid":
        if count is not None:
            raise UsageError(
                f"{sweep.path}: method is grid, which has its own number of points; {count} were asked for"
            )
        points, folded = _fold(_grid(sweep), None)
        if sweep.run_cap is not None and sweep.run_cap < len(points):
            notes.append(f"run_cap: the first {sweep.run_cap:,} of {len(points):,} points")
            points = points[: sweep.run_cap]
    else:
        wanted = sweep.run_cap if count is None else count
        if wanted is None or not 1 <= wanted <= MAX_POINTS:
            raise UsageError(f"{sweep.path}: a random sweep needs a number of points, 1 to {MAX_POINTS:,}, or run_cap")
        points, folded = _fold(_random(sweep, seed), wanted)
        if len(points) < wanted:
            raise UsageError(f"{sweep.path}: {wanted:,} points are wanted; its parameters have only {len(points):,}")
    if folded:
        notes.append(f"{folded:,} duplicate{'s' * (folded > 1)} left out")
    return Expansion(tuple(points), folded, tuple(notes))


def check(points: Iterable[Point], cls: type[Any], base_words: Sequence[str], places: Mapping[str, str]) -> None:
    """Check every point against the command's config. UsageError names the place of the key, and the point.

    places: file and line of each key, as in Sweep.places.
    """
    for point in points:
        try:
            reader.read(cls, [*base_words, *point.words], prog="the command", description="")
        except UsageError as error:
            named = [key for key in point.overrides if re.search(rf"(?<![\w.]){re.escape(key)}(?![\w.])", str(error))]
            place = f"{places[named[0]]}: " if named and named[0] in places else ""
            raise UsageError(f"{place}{error} (point {point.id}: {' '.join(point.words)})") from error
        except SystemExit:  # it would end the caller successfully
            raise UsageError(f"{' '.join(base_words)}: --help and --print_config have no place in a sweep") from None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else yaml_text.dump(value, flow=True)


def _canonical(value: Any) -> Any:
    """Equal for equal numbers; true and 1, which are equal in Python, differ in JSON."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return {key: _canonical(item) for key, item in value.items()} if isinstance(value, dict) else value


def _grid(sweep: Sweep) -> Iterator[Point]:
    axes = [parameter.grid() for parameter in sweep.parameters]
    size = math.prod(len(axis) for axis in axes)
    if size > MAX_POINTS:
        raise UsageError(f"{sweep.path}: the grid has {size:,} points; at most {MAX_POINTS:,} are taken")
    keys = [parameter.key for parameter in sweep.parameters]
    return (Point.of(dict(zip(keys, values, strict=True))) for values in product(*axes))


def _random(sweep: Sweep, seed: int) -> Iterator[Point]:
    require(0 <= seed < MAX_SEED, "seed", seed, "in [0, 2^63)")
    streams = [_uniforms(seed, parameter.key) for parameter in sweep.parameters]
    for uniforms in zip(*streams, strict=True):
        drawn = zip(sweep.parameters, uniforms, strict=True)
        yield Point.of({parameter.key: parameter.draw(uniform) for parameter, uniform in drawn})


def _uniforms(seed: int, key: str) -> Iterator[float]:
    """Numbers in (0, 1), one stream per key: draws do not depend on other parameters of the file."""
    stream = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    generator = np.random.Philox(key=np.array([seed, stream], dtype=np.uint64))
    while True:
        yield ((int(generator.random_raw()) >> 12) + 0.5) * 2.0**-52


def _fold(found: Iterable[Point], wanted: int | None) -> tuple[list[Point], int]:
    """Distinct points in order, and the number of duplicates."""
    points: dict[str, Point] = {}
    folded = fruitless = 0
    for point in found:
        if point.id in points:
            folded, fruitless = folded + 1, fruitless + 1
        else:
            points[point.id], fruitless = point, 0
        if len(points) == wanted or fruitless == FRUITLESS_DRAWS:
            break
    return list(points.values()), folded
