"""Names as data in Markdown. Those of classes, files and layers come from outside: none may become markup or a link."""

from __future__ import annotations

import html
import re

from configs.shown import printable

MARKUP = re.compile(r"[\\`*_{}\[\]#+.:@|~$^=!()]")
"""What may begin markup, a link, a mention or a cell of a table."""


def text(name: str) -> str:
    """Return text that Markdown shows as this name, on one line."""
    line = printable(name).replace("\n", "\\n").replace("\t", " ")
    return html.escape(MARKUP.sub(lambda found: f"\\{found[0]}", line), quote=False)


def literal(name: str) -> str:
    """Return a name as a string literal of Python, for a block of code."""
    return ascii(name) if not name.isprintable() else f'"{name}"' if not set('"\\') & set(name) else repr(name)
