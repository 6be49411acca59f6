"""The runs of a sweep to submit now, and their arrays. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from launch.slurm import queue
from launch.submit import chain, freeze
from launch.submit.chain import Part, Place
from launch.submit.request import Request
from launch.sweep_folder import Submission, SweepFolder
from train.run_folder.status import UNFINISHED, State


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """The state of a sweep, and the arrays to submit."""

    submission: Submission
    states: Mapping[str, State]
    """States of the requested runs before the submission."""
    parts: tuple[Part, ...]
    """One array each."""
    blocked: int
    """Number of runs left out because their parents are neither done nor queued."""
    surplus: int
    """Number of runs left out because an array has no room for them."""


def select(request: Request) -> Selection:
    """Choose by the folder and Slurm's queue. Nothing is written.

    Raises:
        InputError: The folder holds another sweep, or is damaged.
        SlurmError: Slurm does not say what is queued.
    """
    submission = freeze.merged(request)
    states, _ = survey(request.folder, submission)
    asked = {run.id for run in request.submission.runs}
    states = {run_id: state for run_id, state in states.items() if run_id in asked}
    take = (*UNFINISHED, "failed") if request.retry else UNFINISHED
    runs = [run for run in submission.runs if states.get(run.id) in take]
    places: dict[str, Place] = {}
    blocked = 0
    if request.parent is not None and submission.after is not None:
        before, places = survey(SweepFolder(Path(submission.after)), request.parent)
        places = {} if request.cluster is None else places
        foreseen = request.dry_run and request.coming
        ready = [run for run in runs if foreseen or run.parent in places or before[str(run.parent)] == "done"]
        blocked, runs = len(runs) - len(ready), ready
    most = None if request.cluster is None else queue.largest_array()
    parts = chain.parts(runs[:most], places)
    return Selection(
        submission=submission,
        states=states,
        parts=tuple(parts),
        blocked=blocked,
        surplus=len(runs) - len(runs[:most]),
    )


def survey(folder: SweepFolder, submission: Submission) -> tuple[dict[str, State], dict[str, Place]]:
    """The state of each run, and the places of those queued or running; there are none without squeue."""
    sent = folder.sent()
    jobs = {array.job: None for array in sent if array.job is not None}
    try:
        queued = queue.states(jobs)
    except FileNotFoundError:
        queued = {}
    states = folder.states(submission, queued)
    found = chain.places(sent, lambda element: element in queued)
    return states, {run_id: place for run_id, place in found.items() if states[run_id] in ("running", "queued")}
