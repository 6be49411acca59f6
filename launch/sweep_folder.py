"""The folder of a sweep. Free of torch.

    sweep.json    the command, its words, the runs (id, overrides) and the metric that compares them
    sweep.yaml    the sweep file
    config/       copies of the files that the words name; runs read these
    runs/ID/      a run folder each
    jobs/0001/    an array: job.sbatch, cluster.yaml, element-0000.sh ..., code.diff; job.json once submitted,
                  or refused.txt
    logs/         output of the jobs
    result.json   means over seeds, once all runs are done

Runs with controls are several such folders, main/ and one for each control, with one result.json beside them.

A run's id depends on its overrides alone, so that a longer sweep adds runs and changes none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from configs import locks, records
from configs.errors import InputError
from configs.files import write_atomically
from launch.points.sweep_file import Metric
from train.run_folder import status
from train.run_folder.status import State

# Slurm's states of elements that squeue still lists.
ENDED = ("COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE")
WAITING = ("PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD", "PREEMPTED")

REFUSED = "refused.txt"
MAIN = "main"
"""Folder of the runs that have controls."""
CONTROLS = ("scratch", "no_teacher", "uniform")
"""Names of controls, and of their folders."""
TEXTS = dict[str, str]
RUN = {"id": str, "overrides": TEXTS, "parent": str | None, "inherited": TEXTS}
SUBMISSION = {
    "command": str,
    "words": tuple[str, ...],
    "directory": str,
    "after": str | None,
    "metric": TEXTS | None,
    "runs": list[Any],
}
SENT = {"job": str | None, "elements": TEXTS, "commit": str | None, "submitted": str}
"""Fields of the files, with their types."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One run of a sweep."""

    id: str
    overrides: Mapping[str, str]
    """Values by dotted key, as on a command line."""
    parent: str | None = None
    """Id of the run that it continues, in the sweep before this one."""
    inherited: Mapping[str, str] = field(default_factory=dict)
    """Overrides of that run and of those before it."""

    @property
    def settings(self) -> dict[str, str]:
        """Everything that distinguishes this run from others."""
        return {**self.inherited, **self.overrides}


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """The content of sweep.json."""

    command: str
    words: tuple[str, ...]
    """Options before the overrides."""
    directory: str
    """Where commands run; absolute."""
    after: str | None = None
    """Folder of the sweep that this one continues."""
    metric: Metric | None = None
    runs: tuple[Run, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """An array that was submitted."""

    job: str | None
    """Slurm's job number. None: it ran on the submitting machine."""
    elements: Mapping[int, str]
    """Run ids by index in the array."""
    commit: str | None
    """Commit of the code, with + if the tree differed. None: not in a checkout."""
    submitted: str
    """Time of submission."""


@dataclass(frozen=True, slots=True)
class SweepFolder:
    """Paths and files of a sweep."""

    path: Path

    @property
    def file(self) -> Path:
        """sweep.json, which marks the folder of a sweep."""
        return self.path / "sweep.json"

    @property
    def label(self) -> str:
        """What its runs are called elsewhere, such as in Slurm's queue."""
        path = self.path.absolute()
        return f"{path.parent.name}-{path.name}" if path.name in (MAIN, *CONTROLS) else path.name

    def run_dir(self, run_id: str) -> Path:
        """The folder of a run."""
        return self.path / "runs" / run_id

    def is_done(self, run_id: str) -> bool:
        """Whether a run has come to its end."""
        folder = self.run_dir(run_id)
        return status.state(folder, status.read(folder)) == "done"

    def load(self) -> Submission:
        """Read sweep.json. InputError: it is missing or damaged."""
        if not self.file.exists():
            raise InputError(f"{self.path} is no folder of launch.submit: it has no sweep.json")
        found = records.typed(self.file, records.from_json(self.file), SUBMISSION)
        try:
            runs = tuple(Run(**records.typed(self.file, values, RUN)) for values in found.pop("runs"))
            metric = None if found["metric"] is None else Metric(**found["metric"])
            return Submission(**found | {"metric": metric, "runs": runs})
        except (ValueError, TypeError) as error:
            raise InputError(f"{self.file} is damaged: {error}") from error

    def save(self, submission: Submission) -> None:
        """Write sweep.json."""
        write_atomically(self.file, _json(asdict(submission)))

    def sent(self) -> list[Sent]:
        """All arrays that were submitted, the oldest first."""
        return [_sent(path) for path in sorted(self.path.glob("jobs/*/job.json"))]

    def refusal(self) -> str | None:
        """Why Slurm did not take the newest array; None: it did, or nothing was submitted."""
        newest = max(self.path.glob("jobs/*"), default=self.path)
        try:
            return None if (newest / "job.json").exists() else (newest / REFUSED).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return None

    def new_job_folder(self) -> Path:
        """Make the folder of the next array."""
        taken = [int(path.name) for path in self.path.glob("jobs/*") if path.name.isdecimal()]
        folder = self.path / "jobs" / f"{max(taken, default=0) + 1:04d}"
        folder.mkdir(parents=True)
        return folder

    def states(self, submission: Submission, queue: Mapping[str, str]) -> dict[str, State]:
        """The state of each run by id. queue: Slurm's state of each element that squeue lists, by JOB_INDEX."""
        places: dict[str, list[str]] = {}
        for array in filter(lambda sent: sent.job is not None, self.sent()):
            for index, run_id in array.elements.items():
                places.setdefault(run_id, []).append(f"{array.job}_{index}")
        found: dict[str, State] = {}
        for run in submission.runs:
            seen = [queue[place] for place in places.get(run.id, ()) if place in queue]
            queued = [state for state in seen if state not in ENDED]
            found[run.id] = _state(self.run_dir(run.id), queued, submitted=run.id in places)
        return found


def _state(folder: Path, queued: list[str], *, submitted: bool) -> State:
    """How a run stands, by its folder and Slurm's states of it; submitted: Slurm would list it if it ran."""
    found = status.state(folder, status.read(folder))
    if found != "done" and queued:
        return "queued" if all(state in WAITING for state in queued) else "running"
    if found == "running" and submitted and not locks.held(folder):
        return "lost"
    return found


def write_sent(job_folder: Path, sent: Sent) -> None:
    """Record that an array was submitted."""
    write_atomically(job_folder / "job.json", _json(asdict(sent)))


def write_refusal(job_folder: Path, reason: str) -> None:
    """Record why an array was not taken, for launch.status."""
    write_atomically(job_folder / REFUSED, reason + "\n")


def _sent(path: Path) -> Sent:
    found = records.typed(path, records.from_json(path), SENT)
    try:
        return Sent(**found | {"elements": {int(index): run_id for index, run_id in found["elements"].items()}})
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged: {error}") from error


def _json(value: Any) -> str:
    return json.dumps(value, indent=1) + "\n"


def locked(folder: Path) -> AbstractContextManager[None]:
    """Create the folder and lock it. LockedError: another process holds the lock."""
    return locks.alone(folder, lambda: f"another launch.submit is at work in {folder}; wait for it")
