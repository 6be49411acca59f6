"""Names as they are shown. Names of classes, files and layers come from outside, so that none may steer a terminal."""

from __future__ import annotations

import re
import shlex

from configs.errors import UsageError

STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Control characters other than newline and tab, line separators, and marks that turn the direction of writing."""
QUOTED = re.compile(rf"[\t\n'\\]|{STEERING.pattern}")
"""What $'...' of bash needs escaped, or a line of it should not hold."""


def printable(text: str) -> str:
    r"""Replace control characters by visible escapes, such as \x1b; newlines and tabs stay."""
    return STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def quote(word: str) -> str:
    """Quote a word for bash, on one line. UsageError: it holds a NUL, which no process can be given."""
    if "\0" in word:
        raise UsageError(f"{word!r} holds a NUL, which no command line can")
    if word.isprintable():
        return shlex.quote(word)
    return f"$'{QUOTED.sub(_escaped, word)}'"


def command(*words: object) -> str:
    """Return a command that can be pasted into bash."""
    return " ".join(quote(str(word)) for word in words)


def _escaped(found: re.Match[str]) -> str:
    mark = found[0]
    return f"\\{mark}" if mark in "\\'" else "".join(f"\\x{octet:02x}" for octet in mark.encode())
