"""Finished runs side by side: python -m train.table runs/fashion_mnist/*

Runs that differ only in their seed become one row: mean and sample standard deviation over seeds, and the largest
network and longest training among them. `reads`, where it is more than 1 for any of them, says how often the test split
was read.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from rich.table import Table

from configs import reader, records
from configs.arguments import Parser
from configs.errors import InputError
from configs.shown import printable
from configs.tables import PlainConsole, plain_table
from train.run_folder import readings, result
from train.run_folder.later import without_later
from train.run_folder.readings import Reads

WIDTH = 110
IDENTITY = ("run_dir", "seed")
"""Config keys in which runs of one group may differ."""


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run: its folder, config and result."""

    path: Path
    config: dict[str, Any]
    result: dict[str, Any]
    reads: Reads
    """Readings of its test split."""

    @property
    def group(self) -> str:
        """Equal for runs that differ only in their seed."""
        own = {key: value for key, value in self.config.items() if key not in IDENTITY}
        return json.dumps(without_later(own), sort_keys=True)


def load(path: Path) -> Run:
    """Read a run folder. InputError if it does not hold a finished run."""
    for name in ("config.yaml", result.NAME):
        if not (path / name).is_file():
            raise InputError(f"{path} holds no finished run: it has no {name}")
    reads = readings.read(path).of_run
    return Run(path, records.from_yaml(path / "config.yaml"), result.read(path), reads)


def finished(paths: Sequence[Path]) -> list[Run]:
    """Read the finished runs among these folders, and name the others on stderr. InputError: there is none."""
    runs, others = [], []
    for path in paths:
        try:
            runs.append(load(path))
        except InputError as error:
            others.append(str(error))
    if not runs:
        raise InputError("; ".join(others))
    for other in others:
        print(printable(f"left out: {other}"), file=sys.stderr)
    return runs


def groups(runs: Sequence[Run]) -> list[list[Run]]:
    """Group runs that differ only in their seed, in the order of their first member."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.group, []).append(run)
    return list(found.values())


def name(group: Sequence[Run]) -> str:
    """Return the common beginning of a group's folder names, without a trailing number."""
    names = [run.path.name for run in group]
    if len(names) == 1:
        return names[0]
    shared = "".join(a[0] for a in takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False)))
    return shared.rstrip("-_0123456789") or names[0]


def spread(values: Sequence[float]) -> str:
    """Format shares in per cent: the mean, with the sample standard deviation of several."""
    mean = f"{100 * statistics.fmean(values):.2f}"
    return f"{mean} ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else mean


def build(runs: Sequence[Run], title: str | None = None) -> Table:
    """Build the table, a row per group; with several seeds, accuracies are mean ± sample standard deviation."""
    table, again = plain_table(title), any((run.reads.number or 0) > 1 for run in runs)
    for column in ("run", "model"):
        table.add_column(column, no_wrap=True)
    for column in ("parameters", "MACs", "epochs", "seeds", "validation %", "test %", *["reads"] * again, "time"):
        table.add_column(column, justify="right", no_wrap=True)
    for group in groups(runs):
        first = group[0].result
        tests = [r.result["accuracy"] for r in group if r.result["accuracy_split"] == "test"]
        table.add_row(
            name(group),
            first["model"],
            f"{max(run.result['parameters'] for run in group):,}",
            f"{max(run.result['macs'] for run in group) / 1e6:.1f} M",
            f"{max(result.passes(run.result) for run in group):g}",
            str(len(group)),
            spread([run.result["validation_accuracy"] for run in group]),
            spread(tests) if tests else _unread(group),
            *[_reads(group)] * again,
            f"{statistics.fmean(run.result['seconds'] for run in group):.0f} s",
        )
    return table


def _unread(group: Sequence[Run]) -> str:
    """Say why there is no accuracy on test."""
    return "not read" if any(run.config.get("test") is False for run in group) else "no labels"


def _reads(group: Sequence[Run]) -> str:
    """Return the most readings of the test split for one run; ? where none is recorded for some."""
    known = [run.reads.number for run in group]
    most = max((number for number in known if number is not None), default=0)
    least = "" if all(run.reads.complete for run in group) else "+"
    return f"{most}{least}" if None not in known else "?"


def main(argv: Sequence[str] | None = None) -> None:
    """Read the folders and print the table."""
    parser = Parser(prog="python -m train.table", description="Finished runs side by side.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN_DIR", help="folders of finished runs")
    runs = finished(parser.parse_args(argv).runs)
    PlainConsole(width=WIDTH).print(build(runs))


if __name__ == "__main__":
    reader.command(main)
