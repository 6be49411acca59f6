"""What a page is made of: tables, charts, pictures, and what is missing. Free of torch."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from train.charts import picture
from train.charts.picture import Panel
from train.report.facts import Fact, Line

Cell = Fact | Line | str | None
"""None: not known, which is shown as a dash."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows below the names of their columns; the first cell of a row names it."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    words: bool = False
    """Whether cells are words, and not numbers that stand below each other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """An SVG element and what is said below it."""

    svg: Markup
    title: str
    caption: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """An image inside the page."""

    uri: str
    alt: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Missing:
    """What is not here, why, and the command that makes it, if one does."""

    text: str
    command: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A part of the page with a heading of its own."""

    key: str
    """Its anchor."""
    title: str
    text: Cell = None
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()
    """Shown as they are."""
    details: Sequence[Table] = ()
    """Folded away until asked for."""
    missing: Sequence[Missing] = ()
    parts: Sequence[Section] = ()
    """Sections inside this one."""
    extra: object = field(default=None)
    """What the template shows in a way of its own."""


def chart(panel: Panel, key: str, *, title: str, text: str) -> Chart:
    """Draw a chart. key: its anchor; text: what it shows, for those who do not see it, and below it."""
    return Chart(svg=Markup(picture.inline(panel, key, title=title, text=text)), title=title, caption=text)


def data_uri(content: bytes, kind: str) -> str:
    """Return an image as the text of an address."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
