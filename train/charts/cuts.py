"""Accuracy against parameters through the cuts of a chain, from left to right as it happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from configs.intervals import wilson
from train.charts import style
from train.charts.picture import HEIGHT, WIDTH, Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes


WIDE = 6.0
"""Inches from which on three names stand beside each other above the axes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """A network: its parameters that are not zero, and its accuracy on validation."""

    nonzero: int
    accuracy: float
    samples: int | None = None
    """Images of the validation split, for the interval."""
    name: str = ""

    @property
    def reach(self) -> tuple[float, float]:
        """How far the 95 % interval reaches below and above, in per cent."""
        if self.samples is None:
            return 0.0, 0.0
        low, high = wilson(round(min(max(self.accuracy, 0.0), 1.0) * self.samples), self.samples)
        return 100 * max(self.accuracy - low, 0.0), 100 * max(high - self.accuracy, 0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trade:
    """All that one chart of cuts shows."""

    before: Sequence[Point]
    """Just after each cut."""
    after: Sequence[Point]
    """Once trained."""
    dense: Point | None = None
    """The network before the first cut."""
    budget: int | None = None
    """Parameters that may be other than zero."""
    teacher: float | None = None
    """The teacher's accuracy on validation."""
    controls: Sequence[Point] = ()
    """Other networks, each with its name."""


def panel(trade: Trade, *, title: str = "", width: float = WIDTH, height: float = HEIGHT) -> Panel:
    """Return the chart; it needs a cut at least."""
    columns = 2 if width < WIDE else 3
    return Panel(draw=lambda axes: _draw(axes, trade, columns), title=title, width=width, height=height)


def _draw(axes: Axes, trade: Trade, columns: int) -> None:
    path = [*([trade.dense] if trade.dense else []), *trade.after]
    _bars(axes, path, style.BLUE)
    axes.plot(*_spots(_steps(trade)), ":", color=style.GREY, linewidth=1.2)
    axes.plot(*_spots(path), "-o", color=style.BLUE, label="once trained")
    axes.plot(*_spots(trade.before), "x", color=style.ORANGE, markeredgewidth=2, label="just after the cut")
    if trade.dense is not None:
        axes.plot(*_spots([trade.dense]), "s", color=style.GREEN, markersize=8, label="before the cuts")
    if trade.teacher is not None:
        axes.axhline(100 * trade.teacher, color=style.GREY, linestyle="--", linewidth=1.5, label="teacher")
    if trade.budget is not None:
        axes.axvline(trade.budget, color=style.ROSE, linewidth=1.5, linestyle=":", label=f"budget {trade.budget:,}")
    for control, colour in zip(trade.controls, (style.PURPLE, style.TEAL, style.OCHRE) * 9, strict=False):
        _bars(axes, [control], colour)
        axes.plot(*_spots([control]), "D", color=colour, label=control.name)
    _axes(axes, [point.nonzero for point in (*path, *trade.controls)])
    style.legend(axes, columns)


def _steps(trade: Trade) -> list[Point]:
    """Down with each cut, up with the training after it."""
    pairs = zip(trade.before, trade.after, strict=True)
    return [*([trade.dense] if trade.dense else []), *(point for pair in pairs for point in pair)]


def _axes(axes: Axes, counts: Sequence[int]) -> None:
    if min(counts) > 0 and style.wide(counts, 4):
        axes.set_xscale("log")
    axes.margins(x=0.07)
    axes.invert_xaxis()
    style.ticks(axes, [float(count) for count in counts], least=0.14)
    low, high = axes.get_ylim()
    axes.set_ylim(low, min(high, 101) if high > 101 else high)
    axes.set(xlabel="parameters that are not zero", ylabel="validation accuracy, %")


def _spots(points: Sequence[Point]) -> tuple[list[int], list[float]]:
    return [point.nonzero for point in points], [100 * point.accuracy for point in points]


def _bars(axes: Axes, points: Sequence[Point], colour: str) -> None:
    places, heights = _spots(points)
    below, above = zip(*(point.reach for point in points), strict=True)
    axes.errorbar(places, heights, (below, above), fmt="none", ecolor=colour, elinewidth=1.3, capsize=3, alpha=0.7)
