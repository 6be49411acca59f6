"""Colours and looks that all charts share, and what is drawn in common. Free of torch."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from configs.shown import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Looks = dict[str, Any]
"""Keywords of matplotlib's."""
INK, PAPER = "#1b1f24", "#ffffff"
"""Text and background of a PNG file; in a page, ink is the page's own."""
NIGHT = "#15181c"
"""The page's background in the dark."""
BLUE, ORANGE, GREEN, PURPLE = "#2b7fd4", "#d9621e", "#1a9467", "#a463c8"
ROSE, TEAL, GREY, OCHRE = "#d0487f", "#0f90a0", "#7a838c", "#b07d12"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, ROSE, TEAL, OCHRE, GREY)
"""Contrast of at least 3:1 with PAPER and with NIGHT."""
SIZE = 10.5
LETTER, HANDLE = 0.5, 3.2
"""Widths in a legend, in units of SIZE: a letter, and a column's line with the gaps beside it."""
AXES_SHARE = 0.86
"""Of the width of a panel; the rest is for the numbers at the axis."""
LOG_SPAN = 10
"""Positive values that span this factor are drawn on a logarithmic axis."""
RULES: Looks = {
    "font.size": SIZE,
    "axes.titlesize": SIZE + 1,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.alpha": 0.15,
    "grid.color": INK,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": SIZE - 1,
    "lines.linewidth": 2.0,
    "lines.markersize": 6,
    "svg.fonttype": "none",
    "text.parse_math": False,  # a class may be called $5
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize"), SIZE - 1),
}


@contextmanager
def drawing() -> Iterator[None]:
    """Draw and save in our style, whatever the user's matplotlibrc says."""
    from matplotlib import rc_context, rcdefaults

    with rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a class in Chinese, say, has boxes
        rcdefaults()
        with rc_context(RULES):
            yield


def plain(value: float) -> str:
    """Format a number of an axis without powers of ten: 2,598, 4.33 M, 0.001."""
    size = abs(value)
    if size >= 1e9:
        return f"{value / 1e9:.3g} G"
    if size >= 1e6:
        return f"{value / 1e6:.3g} M"
    return f"{value:,.0f}" if size >= 1000 else f"{value:.3g}" if size >= 1e-5 or not size else f"{value:.0e}"


def wide(values: Sequence[float], span: float = LOG_SPAN) -> bool:
    """Whether a logarithmic axis suits values: all are positive, and they span the factor."""
    return bool(values) and min(values) > 0 and max(values) >= span * min(values)


def logarithmic(axes: Axes, which: str) -> None:
    """Make an axis, x or y, logarithmic, with plain numbers at its ticks."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=7))
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    axis.set_minor_formatter(NullFormatter())


def ticks(axes: Axes, values: Sequence[float], *, least: float = 0.12) -> None:
    """Put ticks of the x axis at these values, at least a share of its width apart."""
    shown, log = sorted(set(values)), axes.get_xscale() == "log"
    place = {value: math.log(value) if log else value for value in shown}
    low, high = (math.log(end) if log else end for end in sorted(axes.get_xlim()))
    gap, kept = least * (high - low), shown[:1]
    for value in shown[1:-1]:
        if place[value] - place[kept[-1]] >= gap and place[shown[-1]] - place[value] >= gap:
            kept.append(value)
    kept += shown[-1:] if len(shown) > 1 and place[shown[-1]] - place[kept[-1]] >= gap / 2 else []
    axes.set_xticks(kept, [plain(value) for value in kept])
    axes.set_xticks([], minor=True)


def legend(axes: Axes, columns: int = 3) -> None:
    """Name the lines above the axes, if any has a name, in so many columns or in as many as there is room for."""
    handles, names = axes.get_legend_handles_labels()
    if handles:
        names = [printable(name) for name in names]
        spot: Looks = {"loc": "lower left", "bbox_to_anchor": (0, 1.0), "borderaxespad": 0.2}
        axes.legend(handles, names, ncols=_columns(axes, names, columns), handlelength=1.6, columnspacing=1.1, **spot)


def _columns(axes: Axes, names: Sequence[str], most: int) -> int:
    """Return the number of columns of a legend that is not wider than its axes, by the letters of the names."""
    import numpy as np

    place, figure = axes.get_subplotspec(), axes.get_figure(root=True)
    assert figure is not None
    room = 72 * AXES_SHARE * figure.get_figwidth() / (1 if place is None else place.get_gridspec().ncols)
    for count in range(min(most, len(names)), 1, -1):
        widest = [max(part) for part in np.array_split([len(name) for name in names], count)]
        if SIZE * sum(LETTER * letters + HANDLE for letters in widest) <= room:
            return count
    return 1
