"""Command line of what writes a model card. Free of torch."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from configs.errors import InputError, UsageError

LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
WEIGHTS = "model.safetensors"


def add_license(parser: argparse.ArgumentParser) -> None:
    """Add --license."""
    meaning = "licence of the weights, such as apache-2.0, mit or cc-by-4.0 (default: none is stated)"
    parser.add_argument("--license", metavar="ID", help=meaning)


def require_license(words: str | None) -> str | None:
    """Return a licence's identifier as the hub spells it. UsageError: it is a sentence, a file or a URL."""
    if words is not None and not LICENSE.fullmatch(words.lower()):
        raise UsageError(
            f"--license is {words!r}; it must be an identifier such as apache-2.0, mit, cc-by-4.0 or other"
        )
    return None if words is None else words.lower()


def weights_file(name: str) -> Path:
    """Return the file that is named, or the one in a run folder that is. InputError: there is none."""
    path = Path(name)
    if path.is_dir():
        if not (path / WEIGHTS).is_file():
            raise InputError(f"there is no {WEIGHTS} in {name}; give the folder of a finished run, or a file")
        return path / WEIGHTS
    if not path.is_file():
        raise InputError(f"there is no file {name}; give a saved .safetensors file, or the folder of a finished run")
    return path
