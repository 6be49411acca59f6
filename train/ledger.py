"""The ledger of a chain of cuts: a line per cut, as JSON, as a table, and as a plot."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

from configs.files import write_atomically
from train.progress import plain_table


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One cut."""

    cut: int
    parameters: int
    macs: int
    before: float
    """Accuracy on validation just after the cut."""
    after: float
    """Accuracy on validation once trained."""
    architecture: str
    """SHA-256 of the names and shapes of all tensors."""
    sha256: str
    """Of the trained network's file."""


def write(folder: Path, entries: Sequence[Entry]) -> None:
    """ledger.json and ledger.png, anew."""
    write_atomically(folder / "ledger.json", json.dumps([asdict(entry) for entry in entries], indent=2) + "\n")
    write_atomically(folder / "ledger.png", _plot(entries))


def table(entries: Sequence[Entry]) -> Table:
    """For a person."""
    shown = plain_table()
    for column in ("cut", "parameters", "MACs", "before %", "after %"):
        shown.add_column(column, justify="right", no_wrap=True)
    for entry in entries:
        accuracies = (f"{100 * entry.before:.2f}", f"{100 * entry.after:.2f}")
        shown.add_row(str(entry.cut), f"{entry.parameters:,}", f"{entry.macs:,}", *accuracies)
    return shown


def _plot(entries: Sequence[Entry]) -> bytes:
    """Accuracy on validation over parameters, just after each cut and once trained."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    parameters = [entry.parameters for entry in entries]
    axes.plot(parameters, [100 * entry.after for entry in entries], "o-", label="once trained")
    axes.plot(parameters, [100 * entry.before for entry in entries], "x:", label="just after the cut")
    axes.set(xscale="log", xlabel="parameters", ylabel="validation accuracy, %")
    axes.legend()
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    return content.getvalue()
