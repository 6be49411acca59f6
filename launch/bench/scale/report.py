"""What was measured of a data set of many files: a table for a person, one JSON object for a program."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from configs.tables import PlainConsole, plain_table
from launch.bench.report import WIDTH, hardware


@dataclass(frozen=True, slots=True)
class Row:
    """One piece of work."""

    name: str
    seconds: float | None
    cpu_seconds: float | None
    """CPU time of one process, which load on the machine changes little."""
    count: int | None
    """Files or samples that these seconds went into; None: none in particular."""
    peak_bytes: int | None
    """The most memory that its process held."""
    figures: Mapping[str, float]
    """Parts of the seconds, and bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScaleReport:
    """All pieces, in the order in which they were measured."""

    rows: Sequence[Row]
    environment: Mapping[str, Any]

    def write(self, *, as_json: bool) -> None:
        """Print it to stdout."""
        if as_json:
            sys.stdout.write(json.dumps({"rows": list(map(asdict, self.rows)), "environment": self.environment}) + "\n")
        else:
            console = PlainConsole(width=WIDTH)
            console.print(hardware(self.environment))
            console.print(_table(self.rows))


def _table(rows: Sequence[Row]) -> Table:
    table = plain_table()
    table.add_column("", overflow="fold")
    for name in ("seconds", "CPU s", "µs each", "peak MB"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("of which", overflow="fold")
    for row in rows:
        each = row.seconds / row.count * 1e6 if row.seconds is not None and row.count else None
        peak = None if row.peak_bytes is None else row.peak_bytes / 1e6
        numbers = [_number(value) for value in (row.seconds, row.cpu_seconds, each, peak)]
        table.add_row(row.name, *numbers, ", ".join(_shown(*part) for part in row.figures.items()))
    return table


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _shown(name: str, figure: float) -> str:
    if name == "bytes":
        return f"{figure / 1e6:,.1f} MB"
    return f"{figure:,.0f} {name}" if name == "images" else f"{name} {figure:.3g} s"
