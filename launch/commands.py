"""The commands that can be launched, each with its config. Free of torch."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from configs.errors import UsageError
from train.chain_config import CompressConfig, PruneConfig
from train.config import DistillConfig, TeacherConfig

COMMANDS: dict[str, type[Any]] = {
    "train.teacher": TeacherConfig,
    "train.distill": DistillConfig,
    "train.prune": PruneConfig,
    "train.compress": CompressConfig,
}
"""Modules that `python -m` and `accelerate launch -m` start, by name."""


def config_class(command: str) -> type[Any]:
    """Return the config that a command reads. UsageError names the commands."""
    if command not in COMMANDS:
        raise UsageError(f"{command} is not a command; {suggestion(command, COMMANDS)}")
    return COMMANDS[command]


def suggestion(word: str, valid: Iterable[str]) -> str:
    """Return what a wrong word may have meant, or else all that is valid."""
    words = list(valid)
    close = difflib.get_close_matches(word, words, n=1)
    return f"did you mean {close[0]}?" if close else f"valid here: {', '.join(words)}"
