"""The table of commands that can be launched. Free of torch."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from configs.errors import UsageError
from train.cache.config import CacheConfig
from train.compress.config import CompressConfig
from train.config import DistillConfig, TeacherConfig
from train.evaluate.config import EvaluateConfig
from train.predict.config import PredictConfig
from train.prune.config import PruneConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """What launchers need to know of a command."""

    config: type[Any]
    """The config that it reads."""
    status: Literal["run_dir", "--run_dir"] | None = None
    """Where it keeps a status: in the run_dir of its config, or only where the command line names one. None: nowhere,
    and launch.submit does not take it."""
    sweep: bool = False
    """Whether it may be swept: its result can be compared."""
    other_sections: bool = False
    """Whether its config files may have sections of other commands."""


COMMANDS: dict[str, Command] = {
    "train.teacher": Command(config=TeacherConfig, status="run_dir", sweep=True),
    "train.distill": Command(config=DistillConfig, status="run_dir", sweep=True),
    "train.prune": Command(config=PruneConfig, status="run_dir", sweep=True),
    "train.compress": Command(config=CompressConfig, status="run_dir", sweep=True),
    "train.cache": Command(config=CacheConfig, status="--run_dir", other_sections=True),
    "train.evaluate": Command(config=EvaluateConfig, other_sections=True),
    "train.predict": Command(config=PredictConfig, other_sections=True),
}
"""By the module that `python -m` and `accelerate launch -m` start."""
SUBMITTED = tuple(name for name, command in COMMANDS.items() if command.status)
"""What launch.submit takes."""
SWEPT = tuple(name for name, command in COMMANDS.items() if command.sweep)
"""What sweep files may name."""


def find(name: str, valid: Iterable[str] = COMMANDS) -> Command:
    """Return a command by its name. UsageError: it is not among the valid ones, which are named."""
    names = list(valid)
    if name not in names:
        raise UsageError(f"{name} is not a command; {suggestion(name, names)}")
    return COMMANDS[name]


def suggestion(word: str, valid: Iterable[str]) -> str:
    """Return what a wrong word may have meant, or else all that is valid."""
    words = list(valid)
    close = difflib.get_close_matches(word, words, n=1)
    return f"did you mean {close[0]}?" if close else f"valid here: {', '.join(words)}"
