"""Panels to files: several side by side as PNG, PDF or SVG, or one as SVG for a page that brings its own ink."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from configs.shown import printable
from train.charts import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 200
WIDTH, HEIGHT = 4.4, 3.1
"""Inches of a panel: 317 points wide, so that text is readable when a telephone shows the panel at its full width."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """A chart of one pair of axes."""

    draw: Callable[[Axes], None]
    title: str = ""
    width: float = WIDTH
    """In inches, as height."""
    height: float = HEIGHT


def file(panels: Sequence[Panel], *, title: str = "", across: int = 3, kind: str = "png") -> bytes:
    """Draw panels in rows of `across` on white. kind: png, pdf or svg."""
    from matplotlib.figure import Figure

    columns = min(len(panels), across)
    rows = math.ceil(len(panels) / columns)
    size = (panels[0].width * columns, panels[0].height * rows + 0.35 * bool(title))
    with style.drawing():
        figure = Figure(figsize=size, layout="constrained", facecolor=style.PAPER)
        grid = figure.subplots(rows, columns, squeeze=False).flatten()
        for axes, panel in zip(grid, panels, strict=False):
            panel.draw(axes)
            _name(axes, panel)
        for axes in grid[len(panels) :]:
            axes.set_visible(False)
        if title:
            figure.suptitle(printable(title), x=0.01, ha="left", weight="bold", size=style.SIZE + 3)
        return _saved(figure, kind)


def inline(panel: Panel, key: str, *, title: str, text: str) -> str:
    """Draw a panel as an SVG element for a page: no background, ink in the page's colour, as wide as its place.

    key: letters that begin all ids in it, which must differ from chart to chart. title, text: what screen readers say.
    """
    from matplotlib.figure import Figure

    with style.drawing():
        figure = Figure(figsize=(panel.width, panel.height), layout="constrained")
        figure.patch.set_visible(False)
        axes = figure.subplots()
        axes.patch.set_visible(False)
        panel.draw(axes)
        svg = _saved(figure, "svg").decode()
    return _embedded(svg, key, title, text)


def _name(axes: Axes, panel: Panel) -> None:
    """Write the title above the legend, where there is one."""
    if panel.title:
        lines = 0 if (legend := axes.get_legend()) is None else math.ceil(len(legend.texts) / legend._ncols)  # type: ignore[attr-defined]
        axes.set_title(printable(panel.title), pad=8 + 1.45 * style.SIZE * lines)


def _saved(figure: Figure, kind: str) -> bytes:
    if kind == "png":
        return _png(figure)
    content = io.BytesIO()
    figure.savefig(content, format=kind, dpi=DPI, metadata=_dateless(kind))
    return content.getvalue()


def _png(figure: Figure) -> bytes:
    """Draw a figure and return the pixels that `savefig` would write, which draws a figure with a layout twice."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    content = io.BytesIO()
    Image.fromarray(np.asarray(canvas.buffer_rgba())).save(content, format="png", dpi=(DPI, DPI))
    return content.getvalue()


def _dateless(kind: str) -> dict[str, None]:
    """The same chart gives the same bytes."""
    return {"CreationDate": None} if kind == "pdf" else {"Date": None}


def _embedded(svg: str, key: str, title: str, text: str) -> str:
    """Take out what belongs to a file alone, make ids unique, and name the picture."""
    body = svg[svg.index("<svg") :]
    opening, _, body = body.partition(">")
    box = re.search(r'viewBox="([^"]+)"', opening)
    assert box is not None, "matplotlib writes a viewBox"
    body = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="', f'id="{key}-', body)
    body = re.sub(r"url\(#", f"url(#{key}-", body)
    body = re.sub(r'xlink:href="#', f'href="#{key}-', body)
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
    body = body.replace(style.INK, "currentColor").replace(style.PAPER, "var(--paper)")
    width = float(box[1].split()[2])
    named = "".join(
        f'<{tag} id="{key}-{tag}">{escape(printable(words))}</{tag}>'
        for tag, words in (("title", title), ("desc", text))
    )
    return (
        f'<svg class="chart" role="img" aria-labelledby="{key}-title {key}-desc" viewBox="{box[1]}" '
        f'style="--width: {width:.0f}px">{named}{body.strip()}'
    )
