"""Facts: numbers of JSON files as a page shows them, each with the file and the place that it comes from.

A source is `FILE#KEY/KEY`, or an operation on several: `mean(FILE#KEY, FILE#KEY)`. Keys with a slash or a tilde are
written as in JSON pointers (RFC 6901). Free of torch.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from configs import intervals
from configs.figures import duration, percent
from configs.shown import printable
from train.charts.series import number
from train.charts.style import plain

Style = Callable[[float], str]
OPERATIONS: dict[str, Callable[..., float]] = {
    "mean": lambda *values: statistics.fmean(values),
    "low": lambda *values: intervals.of_mean(values)[0],
    "high": lambda *values: intervals.of_mean(values)[1],
    "share": lambda part, whole: part / whole,
    "wilson_low": lambda part, whole: intervals.wilson(round(part), round(whole))[0],
    "wilson_high": lambda part, whole: intervals.wilson(round(part), round(whole))[1],
    "share_low": lambda share, whole: intervals.wilson(round(share * whole), round(whole))[0],
    "share_high": lambda share, whole: intervals.wilson(round(share * whole), round(whole))[1],
    "mean_difference": lambda *values: statistics.fmean(_differences(values)),
    "low_difference": lambda *values: intervals.of_mean(_differences(values))[0],
    "high_difference": lambda *values: intervals.of_mean(_differences(values))[1],
    "channels": lambda *widths: sum(widths),
    "entries": lambda shape: shape,
    "kept": lambda free, shape: free / shape,
}
"""What may be done with numbers of files. Differences are of pairs: first minus second, third minus fourth, ...

A list of indices stands for how many they are, a shape for its entries."""


def _differences(values: Sequence[float]) -> list[float]:
    return [one - other for one, other in zip(values[::2], values[1::2], strict=True)]


def count(value: float) -> str:
    """Format a number of things: 2,598."""
    return f"{value:,.0f}"


def share(value: float) -> str:
    """Format a share of 1: 98.05 %."""
    return percent(value)


def whole_share(value: float) -> str:
    """Format a share of 1 where a rough figure is enough: 98 %."""
    return percent(value, 0)


def bare_share(value: float) -> str:
    """Format a share of 1 in per cent, whose sign stands elsewhere: 98.05."""
    return f"{100 * value:.2f}"


def points(value: float) -> str:
    """Format a difference of shares in percentage points, with its sign."""
    return f"{100 * value:+.2f}"


def large(value: float) -> str:
    """Format a count of operations: 77,390 or 3.05 M."""
    return plain(value)


def size(value: float) -> str:
    """Format bytes: 16,528 B, 319 kB, 45 MB."""
    for unit, scale in (("MB", 1e6), ("kB", 1e3)):
        if value >= 10 * scale:
            return f"{value / scale:.0f} {unit}"
    return f"{value:,.0f} B"


def milliseconds(value: float) -> str:
    """Format a latency in milliseconds, whose unit stands elsewhere."""
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def times(value: float) -> str:
    """Format a ratio."""
    return f"{value:.1f}"


def seconds(value: float) -> str:
    """Format a time."""
    return duration(value)


@dataclass(frozen=True, slots=True)
class Fact:
    """A number as it is shown. In HTML it carries its value and its source, in plain text neither."""

    value: float
    text: str
    source: str

    def __str__(self) -> str:
        return self.text

    def __html__(self) -> str:
        found = Markup('<data value="{}" title="{}">{}</data>')
        return found.format(json.dumps(self.value), printable(self.source), self.text)


def pointer(keys: Sequence[str | int]) -> str:
    """Write keys as a JSON pointer without its first slash."""
    return "/".join(str(key).replace("~", "~0").replace("/", "~1") for key in keys)


@dataclass(frozen=True, slots=True)
class Record:
    """What a JSON file holds; nothing if it is not there."""

    path: Path
    values: Mapping[str, Any] | Sequence[Any]

    def __bool__(self) -> bool:
        return bool(self.values)

    def get(self, *keys: str | int) -> Any:
        """Return the value at these keys; None: there is none."""
        found: Any = self.values
        for key in keys:
            try:
                found = found[key]
            except (KeyError, IndexError, TypeError):
                return None
        return found

    def text(self, *keys: str | int) -> str | None:
        """Return a text, printable; None: there is none."""
        found = self.get(*keys)
        return printable(found) if isinstance(found, str) else None

    def number(self, *keys: str | int) -> float | None:
        """Return a finite number; None: there is none."""
        return number(self.get(*keys))

    def source(self, *keys: str | int) -> str:
        """Name the place of a value."""
        return f"{self.path}#{pointer(keys)}"

    def fact(self, style: Style, *keys: str | int) -> Fact | None:
        """Return the number at these keys; None: there is none."""
        value = self.number(*keys)
        return None if value is None else Fact(self.get(*keys), style(value), self.source(*keys))


Place = tuple[Record, Sequence[str | int]]


def combined(style: Style, operation: str, *places: Place) -> Fact | None:
    """Return an operation on the numbers at some places; None: one of them is missing or impossible."""
    values = [record.number(*keys) for record, keys in places]
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not known:
        return None
    sources = ", ".join(record.source(*keys) for record, keys in places)
    try:
        value = OPERATIONS[operation](*known)
    except (ArithmeticError, ValueError):  # of numbers that nobody has measured, such as 5 right answers of 3
        return None
    return Fact(value, style(value), f"{operation}({sources})")


@dataclass(frozen=True, slots=True)
class Line:
    """Facts and words in a row."""

    parts: tuple[Fact | str, ...]

    def __str__(self) -> str:
        return "".join(map(str, self.parts))

    def __html__(self) -> str:
        return Markup("").join(self.parts)


def interval(ends: Sequence[Fact | None]) -> Line | None:
    """Return the low and the high end of an interval of shares; None: one of them is missing."""
    low, high = ends
    return line(low, " to ", high, " %")


def line(*parts: Fact | Line | str | None) -> Line | None:
    """Return facts and words in a row; None: one of them is missing."""
    flat: list[Fact | str] = []
    for part in parts:
        if part is None:
            return None
        flat.extend(part.parts if isinstance(part, Line) else (part,))
    return Line(tuple(flat))
