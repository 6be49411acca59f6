"""Which runs of a sweep are submitted now, and in which arrays. Free of torch."""

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
    """What there is, and what is to be done."""

    submission: Submission
    states: Mapping[str, State]
    """Of the runs that were asked for, before anything is submitted."""
    parts: tuple[Part, ...]
    """What becomes an array each."""
    blocked: int
    """Runs left out because those they carry on are neither done nor queued."""
    surplus: int
    """Runs left out because an array takes no more."""


def select(request: Request) -> Selection:
    """Look at the folder and at Slurm, and choose. Nothing is written.

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
        ready = [run for run in runs if run.parent in places or before[str(run.parent)] == "done"]
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
    """How far each run is, and where those are that are queued or running. Without a squeue, none is."""
    sent = folder.sent()
    jobs = {array.job: None for array in sent if array.job is not None}
    try:
        queued = queue.states(jobs)
    except FileNotFoundError:
        queued = {}
    states = folder.states(submission, queued)
    found = chain.places(sent, lambda element: element in queued)
    return states, {run_id: place for run_id, place in found.items() if states[run_id] in ("running", "queued")}
