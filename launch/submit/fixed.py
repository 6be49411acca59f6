"""Options beside a sweep, which all of its points have: --sweep FILE --epochs 2. Free of torch.

The command may be named: --sweep FILE train.distill --epochs 2.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace

from configs.errors import UsageError
from launch.commands import COMMANDS
from launch.points.sweep_file import Sweep

SHARED = ("--seed",)
"""Options that launch.submit and commands have: behind an option of the command they are the command's."""


def split(parser: argparse.ArgumentParser, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Divide a command line into the words of launch.submit and those of the swept command.

    Whatever follows the command's name is its own, and so is every option that launch.submit does not know.
    """
    known = {flag: action for action in parser._actions for flag in action.option_strings}
    own: list[str] = []
    theirs: list[str] = []
    rest = list(words)
    while rest and rest[0] not in COMMANDS:
        flag, assigned, _ = rest[0].partition("=")
        action = None if theirs and flag in SHARED else known.get(flag)
        count = 1 if action is None or action.nargs == 0 or assigned else 2
        (theirs if action is None else own).extend(rest[:count])
        del rest[:count]
    return own, [*rest[:1], *theirs, *rest[1:]]


def apply(sweep: Sweep, words: Sequence[str]) -> Sweep:
    """Return a sweep whose command has these options, too. An option replaces a parameter of one value.

    words: options, behind the command's name or without it. UsageError: another command, or an option that the sweep
    varies or that launch.submit sets.
    """
    command, options = (words[0], words[1:]) if words and words[0] in COMMANDS else (sweep.command, words)
    if command != sweep.command:
        raise UsageError(f"{sweep.path} is a sweep of {sweep.command}, and the command line names {command}")
    if options and not options[0].startswith("--"):
        raise UsageError(f"{options[0]} is not an option; beside --sweep there may be {sweep.command} and its options")
    replaced: list[str] = []
    require_no_run_dir(options)
    for key in _keys(options):
        for parameter in sweep.parameters:
            if not _overlap(key, parameter.key):
                continue
            if key != parameter.key or parameter.distribution != "constant":
                raise UsageError(
                    f"--{key}: {parameter.where} varies {parameter.key}; leave the option out, or edit the file"
                )
            replaced.append(key)
    kept = tuple(parameter for parameter in sweep.parameters if parameter.key not in replaced)
    return replace(sweep, base_words=(*sweep.base_words, *options), parameters=kept)


def require_no_run_dir(options: Sequence[str]) -> None:
    """UsageError: an option is run_dir."""
    if "run_dir" in _keys(options):
        raise UsageError("--run_dir is what launch.submit sets: a folder for each point below --folder")


def _keys(options: Sequence[str]) -> Iterator[str]:
    return (word[2:].partition("=")[0] for word in options if word.startswith("--"))


def _overlap(one: str, other: str) -> bool:
    """Whether two dotted keys are the same, or one is a section of the other."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")
