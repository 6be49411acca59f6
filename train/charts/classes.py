"""What a network takes for what, and how often it is right by class. K classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from configs.figures import percent
from configs.intervals import wilson
from configs.shown import printable
from train.charts import style
from train.charts.picture import WIDTH, Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Rectangle

MOST_NAMED = 40
"""Classes whose names are written at the axes."""
MOST_COUNTED = 15
"""Classes up to which there is room for numbers."""
LONGEST = 22
Counts = Sequence[Sequence[int]]


def confusion(count_KK: Counts, classes: Sequence[str], *, title: str) -> Panel:
    """Return the matrix: a row per label, a column per answer, shades are shares of the row; recall at the right."""
    side = min(3.6 + 0.36 * len(classes), 13)
    return Panel(draw=lambda axes: _matrix(axes, count_KK, classes), title=title, width=side + 0.6, height=side)


def _matrix(axes: Axes, count_KK: Counts, classes: Sequence[str]) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    share_KK = [[count / max(sum(row), 1) for count in row] for row in count_KK]
    shades = LinearSegmentedColormap.from_list("shares", [style.PAPER, "#9cc3ec", style.BLUE, "#0d3f78"])
    axes.imshow(share_KK, cmap=shades, vmin=0, vmax=1)
    axes.grid(visible=False)
    axes.set(xlabel="answer", ylabel="label")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    for place in range(len(classes)):
        axes.add_patch(_outline(place))
    if len(classes) <= MOST_NAMED:
        names = [short(name) for name in classes]
        axes.set_xticks(range(len(names)), names, rotation=90 if max(map(len, names)) > 3 else 0)
        axes.set_yticks(range(len(names)), names)
        for place, row in enumerate(count_KK):
            recall = percent(row[place] / sum(row), 0) if sum(row) else "none"
            axes.text(len(classes) - 0.3, place, recall, va="center", weight="bold", size=style.SIZE - 1)
        axes.text(len(classes) - 0.3, -0.75, "recall", va="center", size=style.SIZE - 1)
    if len(classes) <= MOST_COUNTED:
        _numbers(axes, count_KK, share_KK)


def _outline(place: int) -> Rectangle:
    from matplotlib.patches import Rectangle

    return Rectangle((place - 0.5, place - 0.5), 1, 1, fill=False, edgecolor=style.INK, linewidth=1.1, clip_on=False)


def _numbers(axes: Axes, count_KK: Counts, share_KK: Sequence[Sequence[float]]) -> None:
    for label, row in enumerate(count_KK):
        for answer, count in enumerate(row):
            if count:
                ink = style.PAPER if share_KK[label][answer] > 0.5 else style.INK
                axes.text(answer, label, f"{count:,}", ha="center", va="center", color=ink, size=style.SIZE - 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bars:
    """Right answers of one network by class: (correct, images)."""

    name: str
    counts: Sequence[tuple[int, int]]
    colour: str = style.BLUE


def accuracy(networks: Sequence[Bars], classes: Sequence[str]) -> Panel:
    """Return bars of each class with 95 % intervals, a bar per network, the first network's best class at the top."""
    height = 1.1 + 0.16 * len(classes) * (len(networks) + 0.5)
    return Panel(draw=lambda axes: _bars(axes, networks, classes), width=WIDTH, height=height)


def _bars(axes: Axes, networks: Sequence[Bars], classes: Sequence[str]) -> None:
    order = sorted(range(len(classes)), key=lambda number: _share(networks[0].counts[number]))
    thick = 0.8 / len(networks)
    for row, network in enumerate(networks):
        places = [place + 0.4 - thick * (row + 0.5) for place in range(len(order))]
        counts = [network.counts[number] for number in order]
        shares = [100 * _share(count) for count in counts]
        limits = [wilson(*count) for count in counts]
        reach = (
            [max(share - 100 * low, 0.0) for share, (low, _) in zip(shares, limits, strict=True)],
            [max(100 * high - share, 0.0) for share, (_, high) in zip(shares, limits, strict=True)],
        )
        looks: style.Looks = {"ecolor": style.INK, "error_kw": {"elinewidth": 1.4, "alpha": 0.8}}
        axes.barh(places, shares, thick * 0.9, xerr=reach, color=network.colour, label=network.name, **looks)
    axes.set_yticks(range(len(order)), [short(classes[number]) for number in order])
    axes.set(xlim=(0, 100), ylim=(-0.6, len(order) - 0.4), xlabel="accuracy, %")
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    style.legend(axes)


def _share(count: tuple[int, int]) -> float:
    return count[0] / max(count[1], 1)


def short(name: str) -> str:
    """Return a name as an axis shows it."""
    shown = printable(name)
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}…"
