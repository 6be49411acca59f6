"""The command line of launch.submit, checked before anything is written or queued. Free of torch."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from configs import reader
from configs.errors import UsageError, require
from launch import commands
from launch.commands import COMMANDS, SUBMITTED, SWEPT
from launch.points import grid, seeds, sweep_file
from launch.points.grid import Point
from launch.run import look_around
from launch.shares import shares
from launch.slurm import cluster, sbatch
from launch.slurm.cluster import Cluster
from launch.submit import chain, fixed
from launch.submit.controls import CONTROLLED
from launch.submit.options import AT_A_TIME, PROG, control_names, options_of
from launch.sweep_folder import MAIN, Run, Submission, SweepFolder


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A submission: the content of the folder, and where to run it."""

    folder: SweepFolder
    submission: Submission
    sweep: str | None
    """The sweep file."""
    cluster: Cluster | None
    """None: run here."""
    shares: Sequence[Mapping[str, str]] = ({},)
    """For each of the runs that run at a time, here: variables that say what it may use."""
    parent: Submission | None
    """The sweep that this one continues."""
    coming: bool = False
    """Whether what it continues is submitted just before it, by the same command."""
    controls: tuple[str, ...] = ()
    """Names of the controls for its runs."""
    notes: tuple[str, ...]
    """Remarks about the points."""
    retry: bool
    dry_run: bool

    @property
    def home(self) -> Path:
        """The folder that was named: of the sweep, or of the main runs and their controls."""
        return self.folder.path.parent if self.controls else self.folder.path


def parse(argv: Sequence[str] | None = None) -> Request:
    """Parse a command line. UsageError: it, or one of the points, is wrong."""
    options = options_of(argv)
    controls = control_names(options.controls)
    folder = SweepFolder(options.folder / MAIN if controls else options.folder)
    if not options.bash:
        sbatch.require_plain("--folder", str(folder.path.absolute()))
    if options.sweep is None and not options.command:
        raise UsageError(f"give --sweep FILE or a command, {', '.join(SUBMITTED)}; see {PROG} --help")
    site, divided = _cluster(options), _shares(options)
    read_points = _single if options.sweep is None else _sweep
    submission, points, places, notes = read_points(options)
    _require_controllable(options, controls, submission.command)
    if options.seeds is not None:
        points = _seeded(options, submission, points, places)
    parent = None
    if options.after is not None:
        before = SweepFolder(options.after)
        parent = before.load()
        if options.seeds is not None and any(seeds.KEY in run.settings for run in parent.runs):
            raise UsageError(
                f"--seeds: the runs in {options.after} have seeds of their own; leave it out, and give the command "
                "--seed {parent.seed}"
            )
        runs = chain.carry_on(points, parent.runs, lambda run_id: str(before.run_dir(run_id)))
        submission = replace(submission, after=str(options.after), runs=tuple(runs))
    else:
        chain.require_filled([*submission.words, *(text for point in points for text in point.overrides.values())])
        submission = replace(submission, runs=tuple(Run(id=point.id, overrides=point.overrides) for point in points))
    require_valid(folder, submission, places)
    return Request(
        folder=folder,
        submission=submission,
        sweep=options.sweep,
        cluster=site,
        shares=divided,
        parent=parent,
        controls=controls,
        notes=notes,
        retry=options.retry,
        dry_run=options.dry_run,
    )


Points = tuple[Submission, Sequence[Point], Mapping[str, str], tuple[str, ...]]


def _sweep(options: argparse.Namespace) -> Points:
    sweep = fixed.apply(sweep_file.read(options.sweep), options.command)
    if "run_dir" in sweep.places:
        raise UsageError(f"{sweep.places['run_dir']}: run_dir is what launch.submit sets: a folder for each point")
    if options.seeds is not None and options.seed is not None and sweep.method != "random":
        seeds.require_free([f"--seed={options.seed}"], (), None)
    if options.seed is not None and sweep.method != "random":
        named = f"--sweep {options.sweep} {sweep.command} --seed {options.seed}"
        raise UsageError(f"--seed is that of a random sweep; name the command first: {named}")
    found = grid.expand(sweep, count=options.count, seed=options.seed or 0)
    where = str(Path.cwd())
    submission = Submission(command=sweep.command, words=sweep.base_words, directory=where, metric=sweep.metric)
    return submission, found.points, sweep.places, found.notes


def _single(options: argparse.Namespace) -> Points:
    command, *words = options.command
    commands.find(command, SUBMITTED)
    if options.count is not None:
        raise UsageError("--count is the number of points of a random sweep; a command has one")
    if options.seed is not None:
        raise UsageError(f"--seed is that of a random sweep; give it to the command: {command} --seed {options.seed}")
    fixed.require_no_run_dir(words)
    submission = Submission(command=command, words=tuple(words), directory=str(Path.cwd()))
    return submission, [Point.of({})], {}, ()


def _seeded(
    options: argparse.Namespace, submission: Submission, points: Sequence[Point], places: Mapping[str, str]
) -> Sequence[Point]:
    if submission.command not in SWEPT:
        raise UsageError(f"--seeds is for {', '.join(SWEPT)}; {submission.command} has no accuracy to compare")
    seeds.require_free(submission.words, points, places.get(seeds.KEY))
    return seeds.times(points, options.seeds)


def _require_controllable(options: argparse.Namespace, controls: Sequence[str], command: str) -> None:
    if not controls:
        return
    if command not in CONTROLLED:
        raise UsageError(f"--controls is for {', '.join(CONTROLLED)}, which cut a network; the command is {command}")
    for key, instead in (
        ("sweep", "choose a point by validation first, and name its values"),
        ("after", "leave it out"),
    ):
        if getattr(options, key) is not None:
            raise UsageError(f"--controls is for one config; --{key} is given, too: {instead}")


def _cluster(options: argparse.Namespace) -> Cluster | None:
    names = [field.name for field in fields(Cluster)]
    given = {name: vars(options)[f"cluster.{name}"] for name in names}
    changes = [f"--{name}={value}" for name, value in given.items() if value is not None]
    if options.cluster is None:
        if changes:
            raise UsageError(f"--cluster.{changes[0].removeprefix('--')} is for Slurm; leave it out with --bash")
        return None
    return cluster.read(options.cluster, changes)


def _shares(options: argparse.Namespace) -> Sequence[Mapping[str, str]]:
    """What each of the runs that run at a time may use."""
    if options.at_a_time is None:
        return ({},)
    if options.cluster is not None:
        raise UsageError(f"{AT_A_TIME} is for --bash; with Slurm, --cluster.throttle N limits an array")
    require(options.at_a_time >= 1, AT_A_TIME, options.at_a_time, "at least 1")
    return shares(options.at_a_time, AT_A_TIME, look_around)


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


def require_valid(folder: SweepFolder, submission: Submission, places: Mapping[str, str]) -> None:
    """Check every run against the command's config. UsageError names the place of the key, and the point."""
    for run in submission.runs:
        if not run.overrides:
            run_config(folder, submission, run)
            continue
        base = [*_base_words(submission, run), f"--run_dir={folder.run_dir(run.id)}"]
        grid.check([Point(run.id, run.overrides)], COMMANDS[submission.command].config, base, places)
