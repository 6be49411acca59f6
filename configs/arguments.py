"""Argument parser of commands that take no config, and the value of a single option of those that do."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import NoReturn

from configs.errors import UsageError

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


class Parser(argparse.ArgumentParser):
    """Raises UsageError for a wrong command line, like every other user error."""

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
