"""Tables and lines for people."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from configs.shown import printable


class PlainConsole(Console):
    """A console to which text is data: brackets are no markup, control characters are visible, also in tables."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, highlight=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return the text as it is, apart from control characters."""
        return super().render_str(printable(text), **options | {"markup": False, "emoji": False})


def plain_table(title: str | None = None) -> Table:
    """A table without a frame, which survives being pasted."""
    return Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
