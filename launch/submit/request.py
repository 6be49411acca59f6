"""The command line of launch.submit, checked before anything is written or queued. Free of torch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from configs import reader
from configs.arguments import Parser, last_value
from configs.errors import UsageError, require
from launch import commands
from launch.commands import COMMANDS, SUBMITTED
from launch.points import grid, sweep_file
from launch.points.grid import Point
from launch.slurm import cluster
from launch.slurm.cluster import Cluster
from launch.slurm.sbatch import PLAIN_PATH
from launch.submit import chain, fixed
from launch.sweep_folder import Run, Submission, SweepFolder

PROG = "python -m launch.submit"
TRAILING = ("--dry_run", "--retry")


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A submission: the content of the folder, and where to run it."""

    folder: SweepFolder
    submission: Submission
    sweep: str | None
    """The sweep file."""
    cluster: Cluster | None
    """None: run here."""
    parent: Submission | None
    """The sweep that this one continues."""
    notes: tuple[str, ...]
    """Remarks about the points."""
    retry: bool
    dry_run: bool


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
    add("--seed", type=int, default=0, metavar="S", help="of a random sweep (0)")
    places = made.add_mutually_exclusive_group(required=True)
    meaning = "what to ask of Slurm, as in configs/slurm/one_gpu.yaml; --cluster.KEY VALUE changes a key of it"
    places.add_argument("--cluster", metavar="FILE", help=meaning)
    places.add_argument("--bash", action="store_true", help="run here, one after another, without Slurm")
    for field in fields(Cluster):
        add(f"--cluster.{field.name}", metavar="VALUE", help=argparse.SUPPRESS)
    add("--after", type=Path, metavar="DIR", help="carry on each run of the sweep there; {parent} is its folder")
    add("--retry", action="store_true", help="submit runs that failed, too")
    add("--dry_run", action="store_true", help="print what would be submitted, and write nothing")
    add(
        "command",
        nargs=argparse.REMAINDER,
        metavar="COMMAND ...",
        help=f"one run: {', '.join(SUBMITTED)}; with --sweep, options for all points",
    )
    return made


def options_of(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the options. --dry_run and --retry may stand after the command too, unless a value follows them."""
    given = list(sys.argv[1:] if argv is None else argv)
    swept = last_value(given, "--sweep") is not None
    given, theirs = fixed.split(parser(), given) if swept else (given, [])
    options = parser().parse_args(given)
    options.command = [*options.command, *theirs]
    words: list[str] = []
    for word, following in pairwise([*options.command, "--"]):
        if word in TRAILING and following.startswith("--"):
            setattr(options, word.removeprefix("--"), True)
        else:
            words.append(word)
    options.command = words
    return options


def parse(argv: Sequence[str] | None = None) -> Request:
    """Parse a command line. UsageError: it, or one of the points, is wrong."""
    options = options_of(argv)
    folder = SweepFolder(options.folder)
    valid = "a path of letters, digits and _ . , : = @ + / -, which is all that #SBATCH lines take"
    found = str(folder.path.absolute())
    require(options.bash or PLAIN_PATH.fullmatch(found) is not None, "--folder", found, valid)
    if options.sweep is None and not options.command:
        raise UsageError(f"give --sweep FILE or a command, {', '.join(SUBMITTED)}; see {PROG} --help")
    site = _cluster(options)
    read_points = _single if options.sweep is None else _sweep
    submission, points, places, notes = read_points(options)
    parent = None
    if options.after is not None:
        before = SweepFolder(options.after)
        parent = before.load()
        runs = chain.carry_on(points, parent.runs, lambda run_id: str(before.run_dir(run_id)))
        submission = replace(submission, after=str(options.after), runs=tuple(runs))
    else:
        chain.require_filled([*submission.words, *(text for point in points for text in point.overrides.values())])
        submission = replace(submission, runs=tuple(Run(id=point.id, overrides=point.overrides) for point in points))
    _check(folder, submission, places)
    return Request(
        folder=folder,
        submission=submission,
        sweep=options.sweep,
        cluster=site,
        parent=parent,
        notes=notes,
        retry=options.retry,
        dry_run=options.dry_run,
    )


Points = tuple[Submission, Sequence[Point], Mapping[str, str], tuple[str, ...]]


def _sweep(options: argparse.Namespace) -> Points:
    sweep = fixed.apply(sweep_file.read(options.sweep), options.command)
    if "run_dir" in sweep.places:
        raise UsageError(f"{sweep.places['run_dir']}: run_dir is what launch.submit sets: a folder for each point")
    found = grid.expand(sweep, count=options.count, seed=options.seed)
    where = str(Path.cwd())
    submission = Submission(command=sweep.command, words=sweep.base_words, directory=where, metric=sweep.metric)
    return submission, found.points, sweep.places, found.notes


def _single(options: argparse.Namespace) -> Points:
    command, *words = options.command
    commands.find(command, SUBMITTED)
    if options.count is not None:
        raise UsageError("--count is the number of points of a random sweep; a command has one")
    submission = Submission(command=command, words=tuple(words), directory=str(Path.cwd()))
    return submission, [Point.of({})], {}, ()


def _cluster(options: argparse.Namespace) -> Cluster | None:
    names = [field.name for field in fields(Cluster)]
    given = {name: vars(options)[f"cluster.{name}"] for name in names}
    changes = [f"--{name}={value}" for name, value in given.items() if value is not None]
    if options.cluster is None:
        if changes:
            raise UsageError(f"--cluster.{changes[0].removeprefix('--')} is for Slurm; leave it out with --bash")
        return None
    return cluster.read(options.cluster, changes)


def _base_words(submission: Submission, run: Run) -> list[str]:
    """The options of a run before its overrides and its folder."""
    if submission.after is None or run.parent is None:
        return list(submission.words)
    run_dir = str(SweepFolder(Path(submission.after)).run_dir(run.parent))
    parent = Run(id=run.parent, overrides=run.inherited)
    return [chain.fill(word, parent, run_dir) for word in submission.words]


def run_words(folder: SweepFolder, submission: Submission, run: Run) -> list[str]:
    """The options of a run."""
    own = Point(run.id, run.overrides).words
    return [*_base_words(submission, run), *own, f"--run_dir={folder.run_dir(run.id)}"]


def run_settings(folder: SweepFolder, submission: Submission, run: Run) -> Any:
    """The config of a run. UsageError: its command refuses it."""
    command = COMMANDS[submission.command]
    return reader.read(
        command.config,
        run_words(folder, submission, run),
        prog=f"python -m {submission.command}",
        description="",
        other_sections=command.other_sections,
    )


def run_config(folder: SweepFolder, submission: Submission, run: Run) -> dict[str, Any]:
    """The config of a run by dotted key. UsageError: its command refuses it."""
    return reader.flat(run_settings(folder, submission, run))


def _check(folder: SweepFolder, submission: Submission, places: Mapping[str, str]) -> None:
    """Check every run against the command's config. UsageError names the place of the key, and the point."""
    for run in submission.runs:
        if not run.overrides:
            run_config(folder, submission, run)
            continue
        base = [*_base_words(submission, run), f"--run_dir={folder.run_dir(run.id)}"]
        grid.check([Point(run.id, run.overrides)], COMMANDS[submission.command].config, base, places)
