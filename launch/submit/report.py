"""What launch.submit prints: states, points and batch scripts. Free of torch."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from configs.shown import printable
from launch.commands import SWEPT
from launch.shares import described
from launch.slurm import sbatch
from launch.slurm.cluster import Cluster
from launch.slurm.sbatch import Array, Job
from launch.submit.chain import Part
from launch.submit.request import Request
from launch.submit.selection import Selection
from launch.sweep_folder import Submission, SweepFolder
from train.run_folder.status import STATES
from train.run_folder.version import Version

WIDTH = 160


def batch_text(request: Request, cluster: Cluster, submission: Submission, part: Part, job_folder: Path) -> str:
    """The batch script of one array, whose element files are in `job_folder`."""
    folder, swept = request.folder, submission.command in SWEPT
    job = Job(
        name=re.sub(r"[^A-Za-z0-9_.-]", "-", folder.label).lstrip(".-") or "sweep",
        logs=str(folder.path.absolute() / "logs"),
        directory=submission.directory,
        work=Array(folder=str(job_folder.absolute()), indices=tuple(part.runs)),
        afterwards=("launch.submit.conclude", str(request.home.absolute())) if swept else (),
    )
    return sbatch.text(cluster, job, afterok=part.afterok, aftercorr=part.aftercorr)


def states(request: Request, selection: Selection) -> None:
    """Print the number of runs in each state."""
    counts = Counter(selection.states.values())
    found = [f"{counts[state]:,} {state}" for state in STATES if counts[state]]
    print(printable(f"{request.folder.path}: {runs(len(selection.states))}: {', '.join(found)}"))
    together = [described(request.shares)] if len(request.shares) > 1 else []
    for note in (*request.notes, *together, *_left_out(request, selection)):
        print(printable(f"  {note}"))
    if not selection.parts:
        print("  nothing to submit")


def _left_out(request: Request, selection: Selection) -> Iterator[str]:
    others = len(selection.submission.runs) - len(selection.states)
    if others:
        yield f"{runs(others)} that were submitted before and are not asked for now stay as they are"
    if not request.retry and "failed" in selection.states.values():
        yield "what failed is submitted again with --retry"
    if selection.blocked:
        yield f"{runs(selection.blocked)} left out: in {request.submission.after} theirs is neither done nor queued"
    if selection.surplus:
        yield f"{runs(selection.surplus)} left out, more than this Slurm takes in an array; submit them again later"
    if request.cluster is not None and request.cluster.throttle and len(selection.parts) > 1:
        yield f"throttle is {request.cluster.throttle} in each of {len(selection.parts)} arrays"


def everything(request: Request, selection: Selection) -> None:
    """Print the scripts and the points that would be submitted."""
    from configs.tables import PlainConsole, plain_table

    folder, submission = request.folder, selection.submission
    for number, part in enumerate(selection.parts if request.cluster else (), start=1):
        assert request.cluster is not None
        job_folder = folder.path / "jobs" / f"{number:04d}"
        print(batch_text(request, request.cluster, submission, part, job_folder))
    states(request, selection)
    keys = list(dict.fromkeys(key for run in request.submission.runs for key in run.settings))
    table = plain_table()
    for column in ("run", "state", *keys):
        table.add_column(column, no_wrap=True)
    for run in request.submission.runs:
        table.add_row(run.id, selection.states[run.id], *(run.settings.get(key, "") for key in keys))
    PlainConsole(width=WIDTH).print(table)


def version_of(folder: SweepFolder, code: Version) -> None:
    """Print what is not recorded of the code, or has changed since the runs before."""
    earlier = [sent.commit for sent in folder.sent()]
    if code.commit is None:
        print("  the code is in no git checkout: its commit is not recorded")
    elif earlier and earlier[-1] != code.commit:
        print(f"  the code is {code.commit} now; runs of {folder.path} were submitted with {earlier[-1]}")


def runs(count: int) -> str:
    """1 run, 21 runs."""
    return f"{count:,} run{'s' * (count != 1)}"
