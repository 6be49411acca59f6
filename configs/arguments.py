"""Argument parser of commands that take no config, and the value of a single option of those that do."""

from __future__ import annotations

import argparse
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NoReturn

from configs.errors import UsageError

NUMBERS = re.compile(r"[-+0-9.,eE()\[\]]+")
"""What the words of a list of numbers look like."""
_command: list[str] = []


def take(module: str, argv: Sequence[str] | None) -> list[str]:
    """Return the words of a command, and remember the whole command line for `command_line`.

    Args:
        module: What `python -m` starts.
        argv: The words, of a caller in Python; None: those of this process.
    """
    _command[:] = sys.orig_argv if argv is None else ["python", "-m", module, *argv]
    if argv is None and _command:
        _command[0] = sys.executable or _command[0]
    return list(sys.argv[1:] if argv is None else argv)


def command_line() -> list[str]:
    """Return the command that was asked for, as it can be typed: the interpreter, -m, the module, its words."""
    return list(_command or sys.orig_argv)


class Items(argparse.Action):
    """A list of numbers or words as it is typed: 9 19 39, 9,19,39 or [9, 19, 39].

    Parser joins its words. Of numbers, it ends at the first word that is none: an argument may follow.
    """

    def __init__(
        self,
        option_strings: Sequence[str],
        dest: str,
        *,
        kind: Callable[[str], Any],
        count: int | None = None,
        **own: Any,
    ) -> None:
        super().__init__(option_strings, dest, **own)
        self.kind, self.count = kind, count

    def own_words(self, words: Iterable[str]) -> Iterator[str]:
        """The words, of those that follow the option, that belong to it."""
        numbers = self.kind in (int, float)
        for word in words:
            if word.startswith("--") or (numbers and not NUMBERS.fullmatch(word)):
                return
            yield word

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Split the words at commas and spaces, inside brackets or not."""
        text = str(values)
        inner = text[1:-1] if text[:1] in ("[", "(") and text[-1:] in ("]", ")") else text
        try:
            found = [self.kind(word) for word in inner.replace(",", " ").split()]
        except ValueError:
            parser.error(f"argument {option_string}: invalid {self.kind.__name__} value: {text!r}")
        if not found or self.count not in (None, len(found)):
            parser.error(f"argument {option_string}: expected {self.count or 'some'} values, found {text!r}")
        setattr(namespace, self.dest, found)


class Parser(argparse.ArgumentParser):
    """Raises UsageError for a wrong command line, like every other user error."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse what is known, after joining the words of lists."""
        words = sys.argv[1:] if args is None else args
        return super().parse_known_args(list(self._joined(words)), namespace)

    def _joined(self, words: Sequence[str]) -> Iterator[str]:
        lists = {
            flag: action for action in self._actions if isinstance(action, Items) for flag in action.option_strings
        }
        rest = deque(words)
        while rest:
            word = rest.popleft()
            yield word
            if word in lists:
                taken = list(lists[word].own_words(rest))
                for _ in taken:
                    rest.popleft()
                yield from [" ".join(taken)] if taken else []

    def error(self, message: str) -> NoReturn:
        """Raise UsageError instead of printing the usage and exiting."""
        raise UsageError(f"{message}; see {self.prog} --help")


def last_value(words: Sequence[str], flag: str) -> str | None:
    """The value that counts of `flag VALUE` and `flag=VALUE`, which is the last one; None: it is not there."""
    found = None
    for before, word in pairwise(["", *words]):
        if before == flag:
            found = word
        elif word.startswith(f"{flag}="):
            found = word.partition("=")[2]
    return found
