"""Charts that are drawn, for tests that look at what is on their axes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from train.charts import style
from train.charts.picture import Panel


@contextmanager
def drawn(panel: Panel) -> Iterator[Axes]:
    """The axes of a panel, once everything on them has its place."""
    with style.drawing():
        figure = Figure(figsize=(panel.width, panel.height), layout="constrained")
        axes = figure.subplots()
        panel.draw(axes)
        figure.draw_without_rendering()
        yield axes


def names(axes: Axes) -> list[str]:
    """What the legend says."""
    legend = axes.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.texts]


def texts(axes: Axes) -> list[str]:
    """What is written among the data."""
    return [text.get_text().strip() for text in axes.texts]
