"""Command lines: of programs that take no config, and single options of those that do."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import pairwise
from typing import NoReturn

from configs.errors import UsageError


class Parser(argparse.ArgumentParser):
    """Reports a wrong command line as every other error of the user."""

    def error(self, message: str) -> NoReturn:
        """UsageError instead of the usage, and of leaving."""
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
