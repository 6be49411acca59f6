"""A sweep as a picture: accuracy on validation against each key that varies, and against parameters. Free of torch."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.errors import InputError
from configs.files import write_atomically
from configs.shown import printable
from launch.status.runs import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ACROSS = 3
LOG_SPAN = 10
"""Positive numbers that span this factor are drawn on a logarithmic axis."""


def write(path: Path, runs: Sequence[Run], varied: Sequence[str]) -> None:
    """Draw them; the file's ending says how. InputError: no run has an accuracy yet."""
    shown = [run for run in runs if run.validation is not None]
    if not shown:
        raise InputError("no run has an accuracy yet: there is nothing to draw")
    from matplotlib.figure import Figure

    panels: list[tuple[str, list[Any]]] = [(key, [run.overrides.get(key, "") for run in shown]) for key in varied]
    if len({run.parameters for run in shown} - {None}) > 1:
        panels.append(("parameters", [run.parameters for run in shown]))
    if not panels:
        panels.append(("run", [run.path.name for run in shown]))
    columns = min(len(panels), ACROSS)
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(4 * columns, 3.2 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True).flatten()
    for axes, (name, values) in zip(grid, panels, strict=False):
        _panel(axes, name, values, shown)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    for axes in grid[::columns]:
        axes.set_ylabel("validation accuracy, %")
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:], dpi=120)
    write_atomically(path, content.getvalue())


def _panel(axes: Axes, name: str, values: Sequence[Any], runs: Sequence[Run]) -> None:
    """One key: finished runs filled, others hollow."""
    numbers = [_number(value) for value in values]
    known = [number for number in numbers if number is not None]
    if len(known) < len([value for value in values if value is not None]):
        words = list(dict.fromkeys(str(value) for value in values))
        numbers = [float(words.index(str(value))) for value in values]
        axes.set_xticks(range(len(words)), [printable(word) for word in words], parse_math=False)
    elif known and min(known) > 0 and max(known) >= LOG_SPAN * min(known):
        axes.set_xscale("log")
    for done, face in ((True, "C0"), (False, "none")):
        dots = [
            (x, 100 * run.validation)
            for x, run in zip(numbers, runs, strict=True)
            if x is not None and run.validation is not None and (run.state == "done") == done
        ]
        axes.scatter([x for x, _ in dots], [y for _, y in dots], facecolors=face, edgecolors="C0")
    axes.set_xlabel(name, parse_math=False)
    axes.grid(alpha=0.3)


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
