"""Progress of runs, read from their folders. Free of torch.

A missing file is no error; a damaged one is named in the run's `fault`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from configs.errors import InputError
from configs.files import json_object
from launch.status.files import count, last_records, number, planned_epochs, yaml_mapping
from launch.sweep_folder import SweepFolder
from train.run_folder import status
from train.run_folder.status import State

CLOSED = frozenset(("checkpoints", "wandb", "__pycache__"))
"""Folders that hold no runs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run, read from its folder."""

    path: Path
    state: State
    model: str | None = None
    epoch: int | None = None
    """Finished epochs."""
    epochs: int | None = None
    """Planned epochs."""
    validation: float | None = None
    """Accuracy on validation: of the best epoch once done, of the last one before."""
    test: float | None = None
    """Accuracy on test, which is read once, at the end."""
    parameters: int | None = None
    macs: int | None = None
    seconds: float | None = None
    """Seconds of the finished epochs."""
    left: float | None = None
    """Seconds to the end of the schedule, at the pace so far."""
    starts: int | None = None
    exit_code: int | None = None
    reason: str | None = None
    """Reason of its end."""
    fault: str | None = None
    """Files that could not be read."""
    agent: bool = False
    """A sweep agent, which starts runs, and not a run itself."""
    overrides: Mapping[str, str] = field(default_factory=dict)
    """Overrides of a sweep."""
    stages: tuple[Run, ...] = ()
    """Run folders inside this one, in order."""


def collect(folder: Path) -> tuple[list[Run], list[str]]:
    """All runs below a folder, with points of sweeps that have not begun; and faults."""
    faults: list[str] = []
    points: dict[Path, Mapping[str, str]] = {}
    paths = list(_outermost(folder, faults, points))
    found = [read(path, faults) for path in paths]
    found = [replace(run, overrides=points.get(run.path, run.overrides)) for run in found]
    started = set(paths)
    return found + [
        Run(path=path, state="waiting", overrides=overrides)
        for path, overrides in points.items()
        if path not in started
    ], faults


def read(folder: Path, faults: list[str]) -> Run:
    """A run folder and those inside it. Folders that cannot be listed are added to `faults`."""
    stages = [read(inner, faults) for child in _folders(folder, faults) for inner in _outermost(child, faults, {})]
    run = _own(folder)
    return _chain(replace(run, stages=tuple(sorted(stages, key=_stage_order)))) if stages else run


def _outermost(folder: Path, faults: list[str], points: dict[Path, Mapping[str, str]]) -> Iterator[Path]:
    """The folder itself if it is a run's, or else the outermost run folders below it.

    Runs of sweeps that are found on the way are added to `points`, with their overrides.
    """
    try:
        names = {entry.name for entry in os.scandir(folder)}
    except OSError as error:
        faults.append(f"{folder}: {error.strerror}")
        return
    if "sweep.json" in names:
        points |= _points(SweepFolder(folder), faults)
    elif status.is_run(names):
        yield folder
        return
    for child in _folders(folder, faults):
        yield from _outermost(child, faults, points)


def _points(sweep: SweepFolder, faults: list[str]) -> dict[Path, Mapping[str, str]]:
    try:
        submission = sweep.load()
    except (InputError, OSError, RecursionError) as error:
        faults.append(f"{sweep.file}: {error}" if isinstance(error, RecursionError) else str(error))
        return {}
    if reason := sweep.refusal():
        faults.append(f"{sweep.path}: not submitted: {reason}")
    return {sweep.run_dir(run.id): run.settings for run in submission.runs}


def _folders(folder: Path, faults: list[str]) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError as error:
        faults.append(f"{folder}: {error.strerror}")
        return []
    return [folder / name for name in sorted(names) if name not in CLOSED and not name.startswith(".")]


def _stage_order(run: Run) -> tuple[int, str]:
    order = ("teacher", "student", "cut")
    return (order.index(run.path.name) if run.path.name in order else len(order), run.path.name)


def _own(folder: Path) -> Run:
    """A run by the files of its own folder."""
    notes: list[str] = []
    said, result = status.read(folder, notes), json_object(folder / "result.json", notes)
    state, kind = status.state(folder, said), said.get("kind")
    epochs = count(said, "epochs") or count(result, "epochs") or planned_epochs(folder / "config.yaml")
    split, accuracy = result.get("accuracy_split"), number(result, "accuracy")
    run = Run(
        path=folder,
        state=state,
        model=result.get("model") if isinstance(result.get("model"), str) else None,
        epoch=count(result, "epochs") if state == "done" else count(said, "epoch"),
        epochs=epochs if kind is None else None,
        validation=_first(number(result, "validation_accuracy"), number(said, "validation_accuracy")),
        test=accuracy if split == "test" else None,
        parameters=count(result, "parameters"),
        macs=count(result, "macs"),
        seconds=_first(number(result, "seconds"), number(said, "seconds")),
        starts=count(said, "starts"),
        exit_code=count(said, "exit_code"),
        reason=str(said["reason"]) if said.get("reason") else None,
        fault="; ".join(notes) or None,
        agent=kind == "agent",
        overrides={key: str(value) for key, value in json_object(folder / "overrides.json", notes).items()},
    )
    return replace(run, left=_left(run)) if state == "running" else run


def _left(run: Run) -> float | None:
    """Seconds to the end of the schedule; None before the first epoch is over."""
    if not run.epoch or run.epochs is None or run.seconds is None:
        return None
    begun, steps, step = 0.0, 0.0, 0.0
    for line in last_records(run.path / "metrics.jsonl"):
        step = number(line, "train/step") or step
        if (epoch := number(line, "epoch")) and step:
            steps = step / epoch
    if steps:
        begun = min(max(step / steps - run.epoch, 0.0), 1.0)
    return max(run.epochs - run.epoch - begun, 0.0) * run.seconds / run.epoch


def _chain(run: Run) -> Run:
    """A chain, completed by the values of its stages."""
    begun = [stage for stage in run.stages if stage.epoch is not None]
    config = yaml_mapping(run.path / "config.yaml")
    epochs = _chain_epochs(config)
    if run.state == "done" or not begun:
        return replace(run, epochs=run.epochs if run.state == "done" else epochs)
    last, epoch = begun[-1], sum(stage.epoch or 0 for stage in begun)
    same = {name: getattr(last, name) for name in ("validation", "parameters", "macs", "model")}
    return replace(run, epoch=epoch, epochs=epochs, left=_chain_left(run, begun, config), **same)


def _chain_left(run: Run, begun: Sequence[Run], config: Mapping[str, Any]) -> float | None:
    """Seconds to the end of a chain of cuts, at the pace of its newest training; None for other chains.

    An epoch of all images is taken to last longer than one of a share of them by as much as it shows more.
    """
    cuts = all(stage.path.name.startswith("cut-") for stage in run.stages)  # stages of other kinds have another pace
    last = begun[-1]
    if run.state != "running" or not cuts or not last.epoch or not last.epochs or not last.seconds:
        return None
    prune, each = config.get("prune"), count(config, "epochs")
    steps = count(prune, "steps") if isinstance(prune, dict) else None
    if steps is None or each is None:
        return None
    final, longer = count(config, "final_epochs"), 1 / (number(config, "epoch_share") or 1)
    ending = each if final is None else final * longer
    after = 0 if len(begun) == steps else each * (steps - 1 - len(begun)) + ending
    rest = 0 if last.state == "done" else last.epochs - last.epoch
    return (rest + after) * last.seconds / last.epoch


def _chain_epochs(config: Mapping[str, Any]) -> int | None:
    """Planned epochs of all trainings of a chain."""
    if isinstance(config.get("prune"), dict):
        steps, each = count(config["prune"], "steps"), count(config, "epochs")
        last = count(config, "final_epochs") or each
        return None if not steps or each is None or last is None else each * (steps - 1) + last
    sections = [config.get(name) for name in ("teacher_training", "student", "cut")]
    stages = [section for section in sections if isinstance(section, dict)]
    counts = [_chain_epochs(stage) if "prune" in stage else count(stage, "epochs") for stage in stages]
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)
