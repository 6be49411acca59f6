"""The options of launch.submit, of which some may stand after the command, too. Free of torch."""

from __future__ import annotations

import argparse
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from configs.arguments import Parser, last_value
from configs.errors import UsageError
from launch.commands import SUBMITTED, suggestion
from launch.slurm.cluster import Cluster
from launch.submit import fixed
from launch.sweep_folder import CONTROLS

PROG = "python -m launch.submit"
TRAILING = ("--dry_run", "--retry")
AT_A_TIME = "--at_a_time"
VALUED = ("--seeds", "--controls", AT_A_TIME)
ASSIGNED = tuple(f"{flag}=" for flag in VALUED)


def parser() -> argparse.ArgumentParser:
    """The options; what follows a command belongs to it."""
    made = Parser(
        prog=PROG,
        usage=f"{PROG} --folder DIR (--cluster FILE | --bash) (--sweep FILE [COMMAND] | COMMAND) [options]",
        description="Submit a sweep as a job array, or one run. Again: what is neither done nor queued.",
        allow_abbrev=False,
    )
    add = made.add_argument
    add("--folder", type=Path, required=True, metavar="DIR", help="what is submitted, and a run folder for each point")
    add("--sweep", metavar="FILE", help="a sweep file, the same that wandb takes: method grid or random")
    add("--count", type=int, metavar="N", help="points of a random sweep")
    add("--seed", type=int, metavar="S", help="of a random sweep (0)")
    places = made.add_mutually_exclusive_group(required=True)
    meaning = "what to ask of Slurm, as in configs/slurm/one_gpu.yaml; --cluster.KEY VALUE changes a key of it"
    places.add_argument("--cluster", metavar="FILE", help=meaning)
    places.add_argument("--bash", action="store_true", help="run here, without Slurm")
    for field in fields(Cluster):
        add(f"--cluster.{field.name}", metavar="VALUE", help=argparse.SUPPRESS)
    add("--after", type=Path, metavar="DIR", help="carry on each run of the sweep there; {parent} is its folder")
    _add_movable(made)
    add(
        "command",
        nargs=argparse.REMAINDER,
        metavar="COMMAND ...",
        help=f"one run: {', '.join(SUBMITTED)}; with --sweep, options for all points",
    )
    return made


def _add_movable(made: argparse.ArgumentParser) -> None:
    """Add the options that may stand after the command, too: no command has them, or they are without a value here."""
    add = made.add_argument
    add("--seeds", type=int, metavar="N", help="each run with the seeds 0 to N - 1; a larger N adds runs")
    meaning = f"runs to compare train.prune or train.compress with, divided by commas: {', '.join(CONTROLS)}"
    add("--controls", metavar="NAMES", help=meaning)
    meaning = "with --bash: runs at a time, each with its share of the cores and one GPU or more (1)"
    add(AT_A_TIME, type=int, metavar="N", help=meaning)
    add("--retry", action="store_true", help="submit runs that failed, too")
    add("--dry_run", action="store_true", help="print what would be submitted, and write nothing")


def options_of(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the options, wherever they stand. --dry_run and --retry with a value behind them are the command's."""
    given = list(sys.argv[1:] if argv is None else argv)
    swept = last_value(given, "--sweep") is not None
    given, theirs = fixed.split(parser(), given) if swept else (given, [])
    options = parser().parse_args(given)
    own, words = _trailing([*options.command, *theirs])
    behind = Parser(prog=PROG, allow_abbrev=False)
    _add_movable(behind)
    behind.parse_args(own, options)
    options.command = words
    return options


def _trailing(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Divide what stands behind the command into words of launch.submit and of the command."""
    own: list[str] = []
    theirs: list[str] = []
    rest = deque(words)
    while rest:
        word = rest.popleft()
        if word in VALUED:
            own += [word, *([rest.popleft()] if rest else [])]
        elif word.startswith(ASSIGNED) or (word in TRAILING and (not rest or rest[0].startswith("--"))):
            own.append(word)
        else:
            theirs.append(word)
    return own, theirs


def control_names(text: str | None) -> tuple[str, ...]:
    """Return the controls that --controls names, in the order in which they run. UsageError: one is unknown."""
    if text is None:
        return ()
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in CONTROLS:
            raise UsageError(f"--controls has {name!r}; {suggestion(name, CONTROLS)}")
    return tuple(name for name in CONTROLS if name in names)
