"""The ledger of a chain: an entry per cut, as JSON, as a table and as a plot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

from configs import records
from configs.errors import InputError
from configs.figures import percent
from configs.files import write_atomically
from configs.tables import plain_table
from train.charts import cuts, picture
from train.charts.cuts import Point, Trade
from train.run_folder.run_dir import RunDir
from train.track.tensorboard_run import TensorBoardRun
from train.track.tracker import CUT_CURVES, CUT_TABLE, Tracker
from train.track.wandb_run import WandbRun

WIDTH, HEIGHT = 7.5, 4.6
"""Inches of ledger.png."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """What ledger.png shows beside the cuts."""

    title: str
    dense: Point | None = None
    """The network before the first cut."""
    budget: int | None = None
    """Parameters that may be other than zero."""
    samples: int | None = None
    """Images of the validation split, for intervals."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One cut."""

    cut: int
    parameters: int
    nonzero: int
    """Parameters that are not zero."""
    macs: int
    before: float
    """Accuracy on validation just after the cut."""
    after: float
    """Accuracy on validation once trained."""
    architecture: str
    """SHA-256 of the names and shapes of all tensors."""
    sha256: str
    """Of the trained network's file."""

    @property
    def summary(self) -> str:
        """The entry as one line of text."""
        return (
            f"{self.nonzero:,} non-zero of {self.parameters:,} parameters, validation {percent(self.before)} just "
            f"after the cut, {percent(self.after)} once trained"
        )

    @property
    def numbers(self) -> dict[str, float]:
        """Logged numbers by name."""
        values = (self.parameters, self.nonzero, self.macs, self.before, self.after)
        return dict(zip(CUT_CURVES, values, strict=True))

    @property
    def row(self) -> list[float]:
        """Row of the table in wandb."""
        return [self.cut, *self.numbers.values()]


def write(folder: Path, entries: Sequence[Entry]) -> None:
    """Write ledger.json."""
    write_atomically(folder / "ledger.json", json.dumps([asdict(entry) for entry in entries], indent=2) + "\n")


def draw(folder: Path, entries: Sequence[Entry], chart: Chart) -> None:
    """Draw ledger.png: validation accuracy over non-zero parameters, just after each cut and once trained.

    chart: what it shows beside the cuts.
    """
    trade = Trade(
        before=[Point(nonzero=e.nonzero, accuracy=e.before, samples=chart.samples) for e in entries],
        after=[Point(nonzero=e.nonzero, accuracy=e.after, samples=chart.samples) for e in entries],
        dense=chart.dense,
        budget=chart.budget,
    )
    panel = cuts.panel(trade, title=chart.title, width=WIDTH, height=HEIGHT)
    write_atomically(folder / "ledger.png", picture.file([panel]))


def read(folder: Path) -> list[Entry]:
    """Read the entries of ledger.json. InputError: it is missing or damaged."""
    path = folder / "ledger.json"
    found = records.from_json(path)
    if not isinstance(found, list):
        raise InputError(f"{path} is damaged: it holds {type(found).__name__} where a list of cuts is right")
    return [records.record(Entry, path, entry) for entry in found]


def track(folder: RunDir, entries: Sequence[Entry], run: WandbRun | None, board: TensorBoardRun | None = None) -> None:
    """Write the ledger as the metrics of the chain, a line per cut, and end the chain's run in wandb with its table.

    run: the chain's run, to which each cut was logged when it was made. board: receives the lines, too.
    """
    tracker = Tracker(folder.metrics, resume_step=0, board=board)
    for entry in entries:
        tracker.log(entry.cut, entry.numbers)
    tracker.close()
    if run is not None:
        run.table(entries[-1].cut, "cuts", list(CUT_TABLE), [entry.row for entry in entries])
        run.finish({"parameters": entries[-1].parameters, "accuracy": entries[-1].after})


def table(entries: Sequence[Entry]) -> Table:
    """Return the ledger as a table."""
    shown = plain_table()
    for column in ("cut", "parameters", "non-zero", "MACs", "before %", "after %"):
        shown.add_column(column, justify="right", no_wrap=True)
    for entry in entries:
        accuracies = (f"{100 * entry.before:.2f}", f"{100 * entry.after:.2f}")
        counts = (f"{count:,}" for count in (entry.parameters, entry.nonzero, entry.macs))
        shown.add_row(str(entry.cut), *counts, *accuracies)
    return shown
