"""The table of launch.status, and the lines below it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from configs.figures import duration
from configs.shown import printable
from configs.tables import plain_table
from launch.status.runs import Run
from train.run_folder.status import STATES

STYLES = {"done": "green", "running": "cyan", "preempted": "yellow", "failed": "bold red", "lost": "bold red"}
LOST = "lost: the folder says running, and the process is gone; the same command goes on with it"
LONGEST_REASON = 300


@dataclass(frozen=True, slots=True)
class Found:
    """The runs below a folder, in display order."""

    folder: Path
    rows: list[Run]
    faults: list[str]
    test: bool = False
    """Whether accuracy on test is shown for a sweep, too, whose points are chosen by validation."""

    @property
    def varied(self) -> list[str]:
        """Keys that a sweep overrides with more than one value."""
        swept = [run.overrides for run in self.rows if run.overrides]
        keys = dict.fromkeys(key for overrides in swept for key in overrides)
        return [key for key in keys if len({overrides.get(key) for overrides in swept}) > 1]

    @property
    def counts(self) -> Counter[str]:
        """Number of runs in each state; stages of chains do not count."""
        return Counter(run.state for run in self.rows)

    def name(self, run: Run) -> str:
        """The run's path relative to the folder."""
        parts = run.path.relative_to(self.folder).parts or (self.folder.resolve().name,)
        return "/".join(part for part in parts if part != "runs" or not run.overrides)

    def as_json(self) -> dict[str, Any]:
        """What --json prints."""
        counts = {"counts": self.counts, "varied": self.varied, "faults": self.faults}
        return {"folder": str(self.folder), **counts, "runs": [_plain(run) for run in self.rows]}

    def print(self, console: Console) -> None:
        """Print the table, then reasons and faults."""
        console.print(table(self))
        for name, run in _with_stages(self):
            for text in filter(None, (_end(run), run.fault)):
                console.print(f"{name}: {text}", style=STYLES.get(run.state, ""))
        if self.counts["lost"]:
            console.print(LOST, style=STYLES["lost"])
        for fault in self.faults:
            console.print(fault, style="bold red")
        summary = ", ".join(f"{self.counts[state]} {state}" for state in STATES if self.counts[state])
        console.print(f"{len(self.rows)} run{'s' * (len(self.rows) != 1)}: {summary}")


def table(found: Found) -> Table:
    """A row for each run and each stage; empty columns are left out, and so is test of a sweep unless asked for."""
    varied, rows = found.varied, _with_stages(found)
    columns: dict[str, list[str]] = {"run": [name for name, _ in rows], "state": [run.state for _, run in rows]}
    columns |= {key: [run.overrides.get(key, "") for _, run in rows] for key in varied}
    columns |= {
        "validation %": [_percent(run.validation) for _, run in rows],
        "test %": [_percent(run.test) if found.test or not varied else "" for _, run in rows],
        "epoch": [_epochs(run) for _, run in rows],
        "parameters": ["" if run.parameters is None else f"{run.parameters:,}" for _, run in rows],
        "MACs": ["" if run.macs is None else f"{run.macs / 1e6:.2f} M" for _, run in rows],
        "time left": [duration(run.left) for _, run in rows],
        "starts": [str(run.starts) if (run.starts or 1) > 1 else "" for _, run in rows],
    }
    shown = plain_table()
    kept = [name for name, cells in columns.items() if any(cells)]
    for name in kept:
        shown.add_column(name, justify="left" if name in ("run", "state", *varied) else "right", no_wrap=True)
    for number, (_, run) in enumerate(rows):
        cells = {name: Text(printable(columns[name][number])) for name in kept}
        cells["state"].stylize(STYLES.get(run.state, ""))
        shown.add_row(*cells.values())
    return shown


def _with_stages(found: Found) -> list[tuple[str, Run]]:
    """All rows with their names, stages indented below their chain."""

    def rows(run: Run, name: str, depth: int) -> Iterator[tuple[str, Run]]:
        yield "  " * depth + name, run
        for stage in run.stages:
            yield from rows(stage, str(stage.path.relative_to(run.path)), depth + 1)

    return [row for run in found.rows for row in rows(run, found.name(run), 0)]


def _plain(run: Run) -> dict[str, Any]:
    own = asdict(replace(run, stages=()))
    return own | {"path": str(run.path), "stages": [_plain(stage) for stage in run.stages]}


def _end(run: Run) -> str:
    """Exit code and reason of a run that failed or was preempted."""
    if run.state not in ("failed", "preempted"):
        return ""
    code = "" if run.exit_code is None else f", exit code {run.exit_code}"
    reason = (run.reason or "no reason was given").strip().partition("\n")[0]
    return f"{run.state}{code}: {reason[:LONGEST_REASON]}"


def _epochs(run: Run) -> str:
    if run.epoch is None and run.epochs is None:
        return ""
    return f"{run.epoch or 0}/{'?' if run.epochs is None else run.epochs}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}"
