"""Tables for people."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table


def plain_table(title: str | None = None) -> Table:
    """A table without a frame, which survives being pasted."""
    return Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
