"""Runs of a sweep: accuracy on validation against each key that varies, and all keys at once."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from configs.figures import percent
from configs.shown import printable
from train.charts import style
from train.charts.classes import short
from train.charts.picture import HEIGHT, Panel
from train.charts.series import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_COLOURS = len(style.SERIES)
RATE_SPAN = 3
"""Learning rates that span this factor are drawn on a logarithmic axis: they are tried in factors."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """A run: what it varies, and what came of it."""

    values: Mapping[str, str]
    accuracy: float
    """On validation."""
    done: bool = True


def panels(tried: Sequence[Tried], keys: Sequence[str]) -> list[Panel]:
    """Return a panel per key. Dots are runs, coloured by another key that has few values; bars are means."""
    return [_panel(tried, key, _colour_key(tried, keys, key)) for key in keys]


def parallel(tried: Sequence[Tried], keys: Sequence[str]) -> Panel:
    """Return all keys as parallel axes, accuracy the last; a line per run, the best one on top."""
    width = max(5.2, 1.3 * (len(keys) + 1))
    return Panel(draw=lambda axes: _parallel(axes, tried, keys), width=width, height=HEIGHT + 0.2)


def _panel(tried: Sequence[Tried], key: str, colour: str | None) -> Panel:
    return Panel(draw=lambda axes: _draw(axes, tried, key, colour))


def _colour_key(tried: Sequence[Tried], keys: Sequence[str], shown: str) -> str | None:
    """The other key with the fewest values."""
    counts = {key: len(_distinct(tried, key)) for key in keys if key not in (shown, "parameters")}
    few = [key for key, count in counts.items() if 1 < count <= MOST_COLOURS]
    return min(few, key=lambda key: (key.endswith("seed"), counts[key]), default=None)


def _distinct(tried: Sequence[Tried], key: str) -> list[str]:
    """The values of a key in the order of their size, words as they come."""
    found = list(dict.fromkeys(run.values.get(key, "") for run in tried))
    return sorted(found, key=_number) if all(_is_number(value) for value in found) else found


def _is_number(text: str) -> bool:
    try:
        return number(float(text)) is not None
    except ValueError:
        return False


def _number(text: str) -> float:
    return float(text)


def _places(tried: Sequence[Tried], key: str) -> dict[str, float]:
    """Where each value lies on its axis: numbers at their size, anything else one after another."""
    values = _distinct(tried, key)
    if all(map(_is_number, values)):
        return {value: _number(value) for value in values}
    return {value: float(place) for place, value in enumerate(values)}


def _is_log(key: str, tried: Sequence[Tried]) -> bool:
    values = _distinct(tried, key)
    span = RATE_SPAN if key.rpartition(".")[2].endswith("lr") else style.LOG_SPAN
    return all(map(_is_number, values)) and style.wide([_number(value) for value in values], span)


def _draw(axes: Axes, tried: Sequence[Tried], key: str, colour: str | None) -> None:
    places = _places(tried, key)
    if _is_log(key, tried):
        axes.set_xscale("log")
    groups = _distinct(tried, colour) if colour else [None]
    for group, shade in zip(groups, style.SERIES, strict=False):
        own = [run for run in tried if colour is None or run.values.get(colour, "") == group]
        faces = [shade if run.done else "none" for run in own]
        spots = [places[run.values.get(key, "")] for run in own], [100 * run.accuracy for run in own]
        name = "" if colour is None else f"{colour.rpartition('.')[2]} {group}"
        axes.scatter(*spots, facecolors=faces, edgecolors=shade, s=42, label=name, zorder=3)
    _means(axes, tried, key, places)
    best = max(tried, key=lambda run: (run.done, run.accuracy))
    spot = places[best.values.get(key, "")], 100 * best.accuracy
    axes.plot(*spot, "o", markersize=14, markerfacecolor="none", markeredgecolor=style.INK, zorder=4)
    axes.set(xlabel=printable(key), ylabel="validation accuracy, %")
    axes.margins(x=0.12, y=0.12)
    _label(axes, places, tried, key)
    style.legend(axes)


def _label(axes: Axes, places: Mapping[str, float], tried: Sequence[Tried], key: str) -> None:
    """Put ticks at the values that were tried, as they were written."""
    if all(map(_is_number, places)):
        style.ticks(axes, list(places.values()), least=0.1)
    else:
        slanted = sum(map(len, places)) > 30
        looks: style.Looks = {"rotation": 25, "ha": "right"} if slanted else {}
        axes.set_xticks(list(places.values()), [short(value) for value in places], **looks)


def _means(axes: Axes, tried: Sequence[Tried], key: str, places: Mapping[str, float]) -> None:
    """A line through the mean of the runs at each value, if some value has several."""
    groups = {value: [run.accuracy for run in tried if run.values.get(key, "") == value] for value in places}
    if max(map(len, groups.values())) < 2:
        return
    means = [100 * statistics.fmean(group) for group in groups.values()]
    looks: style.Looks = {"color": style.GREY, "marker": "_", "markersize": 22, "markeredgewidth": 2.5, "linewidth": 1}
    axes.plot(list(places.values()), means, label="mean", zorder=2, **looks)


def _parallel(axes: Axes, tried: Sequence[Tried], keys: Sequence[str]) -> None:
    scales = [_scale(tried, key) for key in keys]
    low, high = min(run.accuracy for run in tried), max(run.accuracy for run in tried)
    best = max(tried, key=lambda run: (run.done, run.accuracy))
    for run in sorted(tried, key=lambda run: run.accuracy):
        share = (run.accuracy - low) / (high - low) if high > low else 1.0
        heights = [scale[run.values.get(key, "")] for key, scale in zip(keys, scales, strict=True)]
        looks: style.Looks = (
            {"color": style.ORANGE, "linewidth": 3, "zorder": 5} if run is best else {"color": style.BLUE}
        )
        axes.plot(range(len(keys) + 1), [*heights, share], alpha=1 if run is best else 0.25 + 0.6 * share, **looks)
    plate = {"facecolor": style.PAPER, "edgecolor": "none", "pad": 1.5, "alpha": 0.85}
    for place, scale in enumerate(scales):
        for value, height in scale.items():
            spot: style.Looks = {"ha": "center", "va": "center", "bbox": plate}
            axes.text(place, height, short(value), size=style.SIZE - 1.5, zorder=6, **spot)
    for height, accuracy in ((0.0, low), (1.0, high)):
        axes.text(len(keys) + 0.05, height, percent(accuracy), va="center", size=style.SIZE - 1.5)
    names = [key.rpartition(".")[2] for key in keys]
    axes.set_xticks(range(len(keys) + 1), [*map(short, names), "accuracy"])
    axes.set(yticks=[], xlim=(-0.1, len(keys) + 0.45), ylim=(-0.06, 1.06))
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", alpha=0.5)


def _scale(tried: Sequence[Tried], key: str) -> dict[str, float]:
    """Heights from 0 to 1 of the values of a key, evenly spaced in their order."""
    values = _distinct(tried, key)
    return {value: place / max(len(values) - 1, 1) for place, value in enumerate(values)}
