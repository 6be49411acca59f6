"""Layers of a network before and after: widths, shares of weights that are kept, what each is worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from train.charts import style
from train.charts.classes import short
from train.charts.picture import Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def bars(names: Sequence[str], before: Sequence[float], after: Sequence[float], *, unit: str) -> Panel:
    """Return a bar per layer, from top to bottom along the network: what is left, within the outline of what was."""
    return Panel(draw=lambda axes: _before_after(axes, names, before, after, unit), height=_height(names))


def drops(names: Sequence[str], values: Sequence[float], *, unit: str) -> Panel:
    """Return a bar per layer of how many points of accuracy are lost."""
    return Panel(draw=lambda axes: _drops(axes, names, values, unit), height=_height(names))


def _height(names: Sequence[str]) -> float:
    return 1.0 + 0.24 * len(names)


def _before_after(axes: Axes, names: Sequence[str], before: Sequence[float], after: Sequence[float], unit: str) -> None:
    places = range(len(names))
    axes.barh(places, before, 0.72, color="none", edgecolor=style.GREY, linewidth=1.2, label="before")
    axes.barh(places, after, 0.72, color=style.BLUE, label="after")
    for place, (old, new) in enumerate(zip(before, after, strict=True)):
        spot: style.Looks = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(style.plain(new), (old, place), size=style.SIZE - 2, **spot)
    _frame(axes, names, unit)
    style.legend(axes)


def _drops(axes: Axes, names: Sequence[str], values: Sequence[float], unit: str) -> None:
    axes.barh(range(len(names)), values, 0.72, color=style.ORANGE)
    _frame(axes, names, unit)


def _frame(axes: Axes, names: Sequence[str], unit: str) -> None:
    axes.set_yticks(range(len(names)), [short(name) for name in names])
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.margins(x=0.1)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
