"""Sweeps that continue others: parents of runs, and dependencies of arrays. Pure, and free of torch.

Every point of a sweep continues every run of the sweep before it. In the words of a run,

    {parent}        is the folder of the run that it continues, its parent
    {parent.KEY}    is the value of KEY that the parent, or a run before it, overrides
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from configs.errors import UsageError
from launch.points.grid import Point, identified
from launch.sweep_folder import Run, Sent

PLACEHOLDER = re.compile(r"\{parent(?:\.([A-Za-z][\w.]*))?\}")


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a run in Slurm's queue."""

    job: str
    index: int
    alone: bool
    """Whether it is the only run of the job."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Runs that become one array."""

    runs: Mapping[int, Run] = field(default_factory=dict)
    """Runs by index in the array."""
    afterok: tuple[str, ...] = ()
    aftercorr: str | None = None


def carry_on(points: Iterable[Point], parents: Sequence[Run], run_dir: Callable[[str], str]) -> list[Run]:
    """A run for each pair of a parent and a point. run_dir: gives the folder of a parent by its id."""
    return [
        Run(
            id=identified(f"{parent.id} {point.id}"),
            overrides={key: fill(text, parent, run_dir(parent.id)) for key, text in point.overrides.items()},
            parent=parent.id,
            inherited=parent.settings,
        )
        for parent in parents
        for point in points
    ]


def fill(word: str, parent: Run, run_dir: str) -> str:
    """Fill a parent into a word. UsageError: the parent does not override that key."""

    def value(found: re.Match[str]) -> str:
        key = found[1]
        if key is None:
            return run_dir
        if key not in parent.settings:
            valid = ", ".join(parent.settings) or "nothing"
            raise UsageError(f"{word}: the sweep that is carried on does not override {key}, but {valid}")
        return parent.settings[key]

    return PLACEHOLDER.sub(value, word)


def require_filled(words: Iterable[str]) -> None:
    """UsageError: a word names a parent, and there is none."""
    for word in words:
        if found := PLACEHOLDER.search(word):
            raise UsageError(f"{word}: {found[0]} needs --after, the folder of the sweep that is carried on")


def places(sent: Iterable[Sent], queued: Callable[[str], bool]) -> dict[str, Place]:
    """Places of queued runs, by id. queued: whether an element, JOB_INDEX, is queued."""
    found: dict[str, Place] = {}
    for array in sent:
        for index, run_id in array.elements.items():
            if array.job is not None and queued(f"{array.job}_{index}"):
                found[run_id] = Place(array.job, index, alone=len(array.elements) == 1)
    return found


def parts(runs: Iterable[Run], parents: Mapping[str, Place]) -> list[Part]:
    """Divide runs into arrays by the jobs they wait for; a run whose parent has no place waits for none.

    Slurm lets an element wait for the element of another array only under the same number (aftercorr).
    """
    found: dict[tuple[str | None, int | None], dict[int, Run]] = {}
    for run in runs:
        place = None if run.parent is None else parents.get(run.parent)
        if place is None or place.alone:
            members = found.setdefault((place.job if place else None, None), {})
            members[len(members)] = run
            continue
        number = 0
        while place.index in found.setdefault((place.job, number), {}):
            number += 1
        found[place.job, number][place.index] = run
    return [_part(job, number, dict(sorted(members.items()))) for (job, number), members in found.items()]


def _part(job: str | None, number: int | None, runs: Mapping[int, Run]) -> Part:
    if job is None:
        return Part(runs=runs)
    return Part(runs=runs, afterok=(job,)) if number is None else Part(runs=runs, aftercorr=job)
