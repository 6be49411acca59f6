"""Command lines of the programs that take no config."""

from __future__ import annotations

import argparse
from typing import NoReturn

from configs.errors import UsageError


class Parser(argparse.ArgumentParser):
    """Reports a wrong command line as every other error of the user."""

    def error(self, message: str) -> NoReturn:
        """UsageError instead of the usage, and of leaving."""
        raise UsageError(f"{message}; see {self.prog} --help")
