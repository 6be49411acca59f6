"""Submit a sweep: python -m launch.submit --cluster configs/slurm/one_gpu.yaml --sweep FILE --folder runs/sweeps/NAME

The points become one job array with a run folder for each. What is submitted is copied into the folder first: configs,
commit and differences from it, sweep file, points, cluster. The same command again submits what is neither done nor
queued, such as runs that were stopped and points that were added; what failed, only with --retry.

--after FOLDER carries on each run of another sweep: words may name {parent}, the folder of that run, and {parent.KEY},
what that run overrides KEY with. A run starts as soon as the one that it carries on is done.

    python -m launch.submit --cluster C --folder runs/cache --after runs/teacher train.cache --config F
    python -m launch.submit --cluster C --folder runs/students --after runs/cache --sweep distill.yaml
    python -m launch.submit --cluster C --folder runs/cuts --after runs/students --sweep prune.yaml

--sweep FILE --epochs 2 sets an option for all points, except what the sweep varies. --bash runs the same elements here,
one after another. --dry_run shows everything and does nothing.
"""

from __future__ import annotations

import re
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from configs import reader
from configs.errors import InputError
from configs.files import write_atomically, write_script
from configs.shown import command, printable
from launch.slurm import queue, sbatch
from launch.slurm.cluster import Cluster
from launch.slurm.sbatch import Array, Element, Job
from launch.submit import freeze, local, needed
from launch.submit.chain import Part
from launch.submit.request import Request, parse, run_config, run_words
from launch.submit.selection import Selection, select
from launch.sweep_folder import Run, Sent, Submission, SweepFolder, locked, write_refusal, write_sent
from train.run_folder.status import STATES
from train.run_folder.version import Version, version

WIDTH = 160


def main(argv: Sequence[str] | None = None) -> None:
    """Submit what the command line asks for, and report it."""
    request = parse(argv)
    if request.dry_run:
        selection = select(request)
        show(request, selection)
        needed.require(request, selection)
        return
    freeze.merged(request)  # refuses a folder of something else before it gets a lock
    with locked(request.folder.path):
        selection = select(request)
        needed.require(request, selection)
        freeze.write(request, selection.submission)
        report(request, selection)
        code = version()
        _report_version(request.folder, code)
        if request.cluster is None:
            run_here(request, selection, code)
        else:
            for part in selection.parts:
                submit(request.folder, selection.submission, request.cluster, part, code)
    print(command("python", "-m", "launch.status", request.folder.path))


def submit(folder: SweepFolder, submission: Submission, cluster: Cluster, part: Part, code: Version) -> None:
    """Submit one array and record it. SlurmError: it was refused."""
    job_folder = folder.new_job_folder()
    _write_elements(job_folder, folder, submission, part, code, cluster)
    (job_folder / "cluster.yaml").write_text(reader.dump(cluster), encoding="utf-8")
    write_script(job_folder / "job.sbatch", batch_text(folder, submission, cluster, part, job_folder))
    with _uninterrupted():
        try:
            job = queue.submit(job_folder / "job.sbatch")
        except queue.SlurmError as error:
            write_refusal(job_folder, str(error))
            raise
        _record(job_folder, part, job, code)
    waits = f", after job {part.aftercorr or part.afterok[0]}" if part.aftercorr or part.afterok else ""
    at_a_time = f", {cluster.throttle} at a time" if cluster.throttle else ""
    print(f"job {job}: {_runs(len(part.runs))}{at_a_time}{waits}; {printable(str(job_folder / 'job.sbatch'))}")


def batch_text(folder: SweepFolder, submission: Submission, cluster: Cluster, part: Part, job_folder: Path) -> str:
    """The batch script of one array, whose element files are in `job_folder`."""
    job = Job(
        name=re.sub(r"[^A-Za-z0-9_.-]", "-", folder.path.absolute().name).lstrip(".-") or "sweep",
        logs=str(folder.path.absolute() / "logs"),
        directory=submission.directory,
        work=Array(folder=str(job_folder.absolute()), indices=tuple(part.runs)),
    )
    return sbatch.text(cluster, job, afterok=part.afterok, aftercorr=part.aftercorr)


def element(
    folder: SweepFolder, submission: Submission, run: Run, cluster: Cluster | None, group: Sequence[str] = ()
) -> Element:
    """The element of one run. cluster: None if it runs on this machine."""
    processes = () if cluster is None else ("--processes", str(cluster.processes))
    words = (submission.command, *run_words(folder, submission, run), *group)
    return Element(words=("launch.run", *processes, *words))


def wandb_group(folder: SweepFolder, submission: Submission) -> list[str]:
    """The option that groups the runs in wandb, if they are tracked and the config names no group."""
    found = run_config(folder, submission, submission.runs[0])
    tracked = found["track.wandb"] != "disabled" and found["track.group"] is None
    return [f"--track.group={folder.path.absolute().name}"] if tracked else []


def run_here(request: Request, selection: Selection, code: Version) -> None:
    """Run all elements on this machine, then show the table."""
    from launch.status import command as table  # rich takes a while, as below

    for part in selection.parts:
        job_folder = request.folder.new_job_folder()
        _write_elements(job_folder, request.folder, selection.submission, part, code, None)
        _record(job_folder, part, None, code)
        try:
            local.run((run.id, job_folder / sbatch.element_name(index)) for index, run in part.runs.items())
        finally:
            with suppress(InputError):  # nothing has begun
                table.main([str(request.folder.path)])


def report(request: Request, selection: Selection) -> None:
    """Print the number of runs in each state."""
    counts = Counter(selection.states.values())
    found = [f"{counts[state]:,} {state}" for state in STATES if counts[state]]
    print(printable(f"{request.folder.path}: {_runs(len(selection.states))}: {', '.join(found)}"))
    for note in (*request.notes, *_left_out(request, selection)):
        print(printable(f"  {note}"))
    if not selection.parts:
        print("  nothing to submit")


def _left_out(request: Request, selection: Selection) -> Iterator[str]:
    others = len(selection.submission.runs) - len(selection.states)
    if others:
        yield f"{_runs(others)} that were submitted before and are not asked for now stay as they are"
    if not request.retry and "failed" in selection.states.values():
        yield "what failed is submitted again with --retry"
    if selection.blocked:
        yield f"{_runs(selection.blocked)} left out: in {request.submission.after} theirs is neither done nor queued"
    if selection.surplus:
        yield f"{_runs(selection.surplus)} left out, more than this Slurm takes in an array; submit them again later"
    if request.cluster is not None and request.cluster.throttle and len(selection.parts) > 1:
        yield f"throttle is {request.cluster.throttle} in each of {len(selection.parts)} arrays"


def show(request: Request, selection: Selection) -> None:
    """Print the scripts and the points that would be submitted."""
    from configs.tables import PlainConsole, plain_table

    folder, submission = request.folder, selection.submission
    for number, part in enumerate(selection.parts if request.cluster else (), start=1):
        assert request.cluster is not None
        job_folder = folder.path / "jobs" / f"{number:04d}"
        print(batch_text(folder, submission, request.cluster, part, job_folder))
    report(request, selection)
    keys = list(dict.fromkeys(key for run in request.submission.runs for key in run.settings))
    table = plain_table()
    for column in ("run", "state", *keys):
        table.add_column(column, no_wrap=True)
    for run in request.submission.runs:
        table.add_row(run.id, selection.states[run.id], *(run.settings.get(key, "") for key in keys))
    PlainConsole(width=WIDTH).print(table)


def _write_elements(
    job_folder: Path, folder: SweepFolder, submission: Submission, part: Part, code: Version, cluster: Cluster | None
) -> None:
    """Fill a new job folder. It does not count as submitted before job.json is written."""
    group = wandb_group(folder, submission)
    for index, run in part.runs.items():
        text = sbatch.element_text(element(folder, submission, run, cluster, group))
        write_script(job_folder / sbatch.element_name(index), text)
    if code.changes:
        write_atomically(job_folder / "code.diff", code.changes)


def _record(job_folder: Path, part: Part, job: str | None, code: Version) -> None:
    elements = {index: run.id for index, run in part.runs.items()}
    now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    write_sent(job_folder, Sent(job=job, elements=elements, commit=code.commit, submitted=now))


def _report_version(folder: SweepFolder, code: Version) -> None:
    earlier = [sent.commit for sent in folder.sent()]
    if code.commit is None:
        print("  the code is in no git checkout: its commit is not recorded")
    elif earlier and earlier[-1] != code.commit:
        print(f"  the code is {code.commit} now; runs of {folder.path} were submitted with {earlier[-1]}")


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Block signals between sbatch and the record of its job."""
    asked = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, asked)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _runs(count: int) -> str:
    return f"{count:,} run{'s' * (count != 1)}"
