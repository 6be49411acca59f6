"""Argument parser of commands that take no config, and the value of a single option of those that do."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import pairwise
from typing import NoReturn

from configs.errors import UsageError


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
