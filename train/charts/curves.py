"""Curves of a training: the terms of the loss, accuracies, learning rate, and where the time goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from configs.figures import percent
from train.charts import style
from train.charts.picture import Panel
from train.charts.series import Curves, Points
from train.loss.config import TERMS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VALIDATION, TRAINING, AGREEMENT = "validation/accuracy", "train/accuracy", "validation/agreement"
LOSS_SPAN = 30
PARTS = (("data", style.OCHRE), ("teacher", style.PURPLE), ("step", style.BLUE), ("evaluation", style.TEAL))


def panels(
    curves: Curves, *, best: int | None = None, teacher: float | None = None, starts: Sequence[float] = ()
) -> dict[str, Panel]:
    """Return the panels for which there are numbers, by name.

    Args:
        curves: Of one run, or of several that followed each other.
        best: The epoch, counted from 1, whose weights were kept.
        teacher: The teacher's accuracy on validation.
        starts: Epochs at which runs of a chain begin: a cut each.
    """
    draws: dict[str, tuple[str, Callable[[Axes], None], bool]] = {
        "loss": ("Loss", lambda axes: _loss(axes, curves), bool(curves["train/loss"] or curves["validation/loss"])),
        "accuracy": (
            "Accuracy",
            lambda axes: _accuracy(axes, curves, best, teacher),
            bool(curves[VALIDATION]),
        ),
        "rate": ("Learning rate", lambda axes: _rate(axes, curves["train/lr"]), bool(curves["train/lr"])),
        "norm": ("Gradient norm", lambda axes: _norm(axes, curves), bool(curves["train/gradient_norm"])),
        "time": ("Seconds of an epoch", lambda axes: _time(axes, curves), bool(curves.names("seconds/"))),
    }
    return {
        name: Panel(draw=_framed(draw, starts), title=title) for name, (title, draw, there) in draws.items() if there
    }


def _framed(draw: Callable[[Axes], None], starts: Sequence[float]) -> Callable[[Axes], None]:
    """Add what all panels have: the epochs, and a line at each cut."""

    def framed(axes: Axes) -> None:
        from matplotlib.ticker import MaxNLocator

        draw(axes)
        axes.set_xlabel("epoch")
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        for start in starts:
            axes.axvline(start, color=style.GREY, linewidth=1, linestyle=(0, (2, 3)), zorder=0.5)
        style.legend(axes)

    return framed


def _line(axes: Axes, points: Points, name: str, scale: float = 1.0, **looks: Any) -> None:
    marker = "o" if len(points) == 1 else ""
    axes.plot([x for x, _ in points], [scale * y for _, y in points], label=name, marker=marker, **looks)


def _loss(axes: Axes, curves: Curves) -> None:
    terms = [name for term in TERMS if curves[name := f"train/{term.name}"]]
    if len(terms) > 1:
        for name, colour in zip(terms, style.SERIES[1:], strict=False):
            _line(axes, curves[name], name.removeprefix("train/"), color=colour, linewidth=1.3)
    if curves["train/loss"]:
        _line(axes, curves["train/loss"], "loss", color=style.INK)
    if curves["validation/loss"]:
        _line(axes, curves["validation/loss"], "validation", color=style.BLUE, linestyle="--")
    values = [y for name in (*terms, "train/loss", "validation/loss") for _, y in curves[name]]
    if style.wide(values, LOSS_SPAN):
        style.logarithmic(axes, "y")
    elif values and min(values) >= 0:
        axes.set_ylim(bottom=0)


def _accuracy(axes: Axes, curves: Curves, best: int | None, teacher: float | None) -> None:
    for name, label, looks in (
        (TRAINING, "training", {"color": style.ORANGE, "linewidth": 1.3}),
        (AGREEMENT, "agrees with teacher", {"color": style.PURPLE, "linestyle": ":"}),
        (VALIDATION, "validation", {"color": style.BLUE}),
    ):
        if curves[name]:
            _line(axes, curves[name], label, 100.0, **looks)
    if teacher is not None:
        axes.axhline(100 * teacher, color=style.GREY, linestyle="--", linewidth=1.5, label="teacher")
    found = next(((x, y) for x, y in curves[VALIDATION] if best is not None and abs(x - best) < 0.5), None)
    if found is not None:
        mark: style.Looks = {"markersize": 8, "markeredgecolor": style.INK, "linestyle": "none"}
        told = f"{percent(found[1])}, epoch {best}"
        axes.plot(found[0], 100 * found[1], "o", color=style.BLUE, label=told, **mark)
    axes.set_ylabel("%")


def _rate(axes: Axes, points: Points) -> None:
    _line(axes, points, "", color=style.INK)
    axes.set_ylim(bottom=0)


def _norm(axes: Axes, curves: Curves) -> None:
    _line(axes, curves["train/gradient_norm"], "", color=style.GREEN)
    if style.wide([y for _, y in curves["train/gradient_norm"]], LOSS_SPAN):
        style.logarithmic(axes, "y")


def _time(axes: Axes, curves: Curves) -> None:
    known = [(part, colour, curves[f"seconds/{part}"]) for part, colour in PARTS if curves[f"seconds/{part}"]]
    places = sorted({x for _, _, points in known for x, _ in points})
    below = dict.fromkeys(places, 0.0)
    width = 0.8 * min((b - a for a, b in pairwise(places)), default=1.0)
    for part, colour, points in known:
        bottoms = [below[x] for x, _ in points]
        axes.bar([x for x, _ in points], [y for _, y in points], width, bottoms, color=colour, label=part)
        for x, y in points:
            below[x] += y
    axes.set_ylabel("s")
