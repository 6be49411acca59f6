"""The runs of a report: those that are named, of sweeps, and with their controls; which differ in their seed alone.

Free of torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from configs.errors import InputError
from configs.files import json_object
from configs.shown import printable
from models.spec import names_file
from train.report.folder import RunFolder, require_run
from train.report.networks import Network, of_run
from train.run_folder.later import without_later
from train.table import IDENTITY

SWEEP = "sweep.json"
MAIN = "main"
"""Folder of the runs that have controls, as launch.submit names it; those of the controls lie beside it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Runs that differ in their seed alone."""

    name: str
    runs: Sequence[RunFolder]


@dataclass(frozen=True, kw_only=True, slots=True)
class Collection:
    """All runs of a report; the first is the one that it is about."""

    runs: Sequence[RunFolder]
    overrides: Mapping[Path, Mapping[str, str]]
    """What points of a sweep vary, by their folders."""
    named: Mapping[Path, str] = field(default_factory=dict)
    """The names of main runs and of controls, by their folders."""

    @property
    def groups(self) -> list[Group]:
        """In the order of their first run."""
        same_files: dict[str, list[RunFolder]] = {}
        for run in self.runs:
            same_files.setdefault(self.named.get(run.path) or _group_key(run, files=True), []).append(run)
        found: list[list[RunFolder]] = []
        for runs in same_files.values():
            alike = [other for other in found if self._other_seeds(other, runs)]
            if alike:
                alike[0].extend(runs)
            else:
                found.append(runs)
        return [Group(name=self._name(runs, number), runs=runs) for number, runs in enumerate(found)]

    def _other_seeds(self, some: Sequence[RunFolder], others: Sequence[RunFolder]) -> bool:
        """Whether runs with files of their own differ in nothing but their seeds, so that each has the files of one."""
        if some[0].path in self.named or _group_key(some[0], files=False) != _group_key(others[0], files=False):
            return False
        return not {str(run.config.get("seed")) for run in some} & {str(run.config.get("seed")) for run in others}

    @property
    def controls(self) -> list[Network]:
        """The network of each other group that is no point of a sweep, with the group's name."""
        groups = [group for group in self.groups[1:] if group.runs[0].path not in self.overrides]
        return [of_run(group.name, group.runs[0]) for group in groups]

    @property
    def chosen_of(self) -> int:
        """Of how many points of a sweep the first run is the best by validation; 1: it was not chosen."""
        return len(self.overrides) if self.runs[0].path in self.overrides else 1

    def _name(self, runs: Sequence[RunFolder], number: int) -> str:
        """Name points of a sweep by what they vary, and others by what they are."""
        if (name := self.named.get(runs[0].path)) is not None:
            return name
        varied = self.overrides.get(runs[0].path, {})
        named = ", ".join(f"{key} {value}" for key, value in varied.items() if key != "seed")
        return printable(named) if named else _name(runs, number)


def collect(paths: Sequence[Path]) -> Collection:
    """Find the runs in folders of runs, of sweeps, and of runs with their controls.

    InputError: there is none, or they do not belong together.
    """
    runs: list[RunFolder] = []
    overrides: dict[Path, Mapping[str, str]] = {}
    named: dict[Path, str] = {}
    for path in paths:
        if (path / MAIN / SWEEP).is_file():
            found_names = _controlled(path)
            named |= found_names
            runs += map(RunFolder, found_names)
        elif (path / SWEEP).is_file():
            found = _points(path)
            overrides |= found
            runs += sorted(map(RunFolder, found), key=_best_first)
        else:
            runs.append(require_run(path))
    _require_together(runs)
    return Collection(runs=runs, overrides=overrides, named=named)


def _controlled(path: Path) -> dict[Path, str]:
    """The main runs and their controls that have begun, each with the name of its folder."""
    others = sorted(file.parent for file in path.glob(f"*/{SWEEP}") if file.parent.name != MAIN)
    found = dict.fromkeys(_points(path / MAIN), MAIN)
    for folder in others:
        if any((folder / "runs").glob("*")):
            found |= dict.fromkeys(_points(folder), printable(folder.name))
    return found


def _points(path: Path) -> dict[Path, Mapping[str, str]]:
    """The points of a sweep that have begun."""
    faults: list[str] = []
    runs = json_object(path / SWEEP, faults).get("runs")
    if faults or not isinstance(runs, list):
        raise InputError(f"{path / SWEEP} is damaged: it names no runs")
    found: dict[Path, Mapping[str, str]] = {}
    for run in runs:
        if isinstance(run, dict) and isinstance(run.get("id"), str) and Path(run["id"]).name == run["id"]:
            values = {**(run.get("inherited") or {}), **(run.get("overrides") or {})}
            found[path / "runs" / run["id"]] = {str(key): str(value) for key, value in values.items()}
    begun = {folder: values for folder, values in found.items() if folder.is_dir()}
    if not begun:
        raise InputError(f"no run of the sweep in {path} has begun; python -m launch.status {path} shows them")
    return begun


def _best_first(run: RunFolder) -> tuple[bool, float]:
    return run.state != "done", -(run.result.number("validation_accuracy") or 0.0)


def _require_together(runs: Sequence[RunFolder]) -> None:
    """InputError for runs on different data sets."""
    first = runs[0]
    for run in runs[1:]:
        for what, one, other in (
            ("classes", _classes(first), _classes(run)),
            ("data.source", _source(first), _source(run)),
        ):
            if one is not None and other is not None and one != other:
                raise InputError(
                    f"{first.path} and {run.path} do not belong together: their {what} are {_few(one)} and "
                    f"{_few(other)}. Give runs on the same data set, or make a report of each"
                )


def _classes(run: RunFolder) -> Any:
    return run.header.get("card", "classes")


def _source(run: RunFolder) -> Any:
    return run.settings.get("data", "source")


def _few(found: Any) -> str:
    words = list(map(str, found)) if isinstance(found, list) else [str(found)]
    return ", ".join(words[:5]) + (f", ... ({len(words)})" if len(words) > 5 else "")


def _group_key(run: RunFolder, *, files: bool) -> str:
    """Equal for runs that differ in their seed. files: and have the same files of weights."""

    def bare(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: bare(inner) for key, inner in value.items() if key not in IDENTITY}
        return "FILE" if not files and isinstance(value, str) and names_file(value) else value

    return json.dumps(bare(without_later(run.config)), sort_keys=True, default=str)


def _name(runs: Sequence[RunFolder], number: int) -> str:
    """Name a group by what it is a control for, and else by its first folder."""
    first = runs[0]
    distill = first.settings.get("distill")
    if number and isinstance(distill, dict) and not any(distill.get(key) for key in ("alpha", "hint", "attention")):
        return "without teacher"
    if number and first.settings.get("student", "from_scratch") is True:
        return "from scratch"
    return printable(first.path.name)
