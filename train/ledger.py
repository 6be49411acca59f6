"""The ledger of a chain of cuts: a line per cut, as JSON, as a table, and as a plot."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

from configs import reader
from configs.files import write_atomically
from train.chain_config import PruneConfig
from train.progress import plain_table
from train.run_dir import RunDir
from train.track import Tracker


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
        """One line for a person."""
        return (
            f"{self.nonzero:,} non-zero of {self.parameters:,} parameters, validation {self.before:.2%} just after the "
            f"cut, {self.after:.2%} once trained"
        )


def write(folder: Path, entries: Sequence[Entry]) -> None:
    """ledger.json and ledger.png, anew."""
    write_atomically(folder / "ledger.json", json.dumps([asdict(entry) for entry in entries], indent=2) + "\n")
    write_atomically(folder / "ledger.png", _plot(entries))


def read(folder: Path) -> list[Entry]:
    """What `write` wrote."""
    return [Entry(**entry) for entry in json.loads((folder / "ledger.json").read_text())]


def track(config: PruneConfig, folder: RunDir, entries: Sequence[Entry]) -> None:
    """The whole ledger as metrics of the chain, a line per cut, and in wandb where that is on."""
    tracker = Tracker(config.track, folder.metrics, resume_step=0)
    tracker.start_wandb(config=reader.flat(config), name=folder.path.name, stage="prune", run_id=None)
    for entry in entries:
        numbers = {"parameters": entry.parameters, "nonzero": entry.nonzero, "macs": entry.macs}
        accuracies = {"accuracy_just_after": entry.before, "accuracy": entry.after}
        tracker.log(entry.cut, {f"cut/{name}": value for name, value in (numbers | accuracies).items()})
    tracker.close({"parameters": entries[-1].parameters, "accuracy": entries[-1].after})


def table(entries: Sequence[Entry]) -> Table:
    """For a person."""
    shown = plain_table()
    for column in ("cut", "parameters", "non-zero", "MACs", "before %", "after %"):
        shown.add_column(column, justify="right", no_wrap=True)
    for entry in entries:
        accuracies = (f"{100 * entry.before:.2f}", f"{100 * entry.after:.2f}")
        counts = (f"{count:,}" for count in (entry.parameters, entry.nonzero, entry.macs))
        shown.add_row(str(entry.cut), *counts, *accuracies)
    return shown


def _plot(entries: Sequence[Entry]) -> bytes:
    """Accuracy on validation over non-zero parameters, just after each cut and once trained."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    nonzero = [entry.nonzero for entry in entries]
    axes.plot(nonzero, [100 * entry.after for entry in entries], "o-", label="once trained")
    axes.plot(nonzero, [100 * entry.before for entry in entries], "x:", label="just after the cut")
    axes.set(xscale="log", xlabel="non-zero parameters", ylabel="validation accuracy, %")
    axes.legend()
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    return content.getvalue()
