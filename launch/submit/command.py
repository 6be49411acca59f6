"""Submit a sweep: python -m launch.submit --cluster configs/slurm/one_gpu.yaml --sweep FILE --folder runs/sweeps/NAME

The points become one job array with a run folder for each. What is submitted is copied into the folder first: configs,
commit and differences from it, sweep file, points, cluster. The same command again submits what is neither done nor
queued, such as runs that were stopped and points that were added; what failed, only with --retry.

--after FOLDER carries on each run of another sweep: words may name {parent}, the folder of that run, and {parent.KEY},
what that run overrides KEY with. A run starts as soon as the one that it carries on is done.

    python -m launch.submit --cluster C --folder runs/cache --after runs/teacher train.cache --config F
    python -m launch.submit --cluster C --folder runs/students --after runs/cache --sweep distill.yaml
    python -m launch.submit --cluster C --folder runs/cuts --after runs/students --sweep prune.yaml

--seeds 5 runs each point with the seeds 0 to 4; --controls scratch,no_teacher,uniform adds runs to compare train.prune
or train.compress with. Once all are done, FOLDER/result.json has means, intervals and paired differences.

--sweep FILE --epochs 2 sets an option for all points, except what the sweep varies. --bash runs the same elements here,
one after another, or --at_a_time 8 side by side. --dry_run shows everything and does nothing.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from configs import reader
from configs.errors import InputError
from configs.files import write_atomically, write_script
from configs.shown import command, printable
from launch.commands import SWEPT
from launch.slurm import queue, sbatch
from launch.slurm.cluster import Cluster
from launch.slurm.sbatch import Element
from launch.submit import freeze, local, needed, report, study
from launch.submit.chain import Part
from launch.submit.request import Request, parse, run_config, run_words
from launch.submit.selection import Selection, select
from launch.sweep_folder import Run, Sent, Submission, SweepFolder, locked, write_refusal, write_sent
from train.run_folder.version import Version, version


def main(argv: Sequence[str] | None = None) -> None:
    """Submit what the command line asks for, and report it."""
    request = parse(argv)
    with TemporaryDirectory(prefix="heartcut-submit-") as drafts:
        asked = study.requests(request, Path(drafts))
        if request.dry_run:
            preview(asked)
            return
        for one in asked:
            freeze.merged(one)  # refuses a folder of something else before it gets a lock
        with locked(request.home):
            failures = [failure for one in asked if (failure := carry_out(one)) is not None]
            if request.submission.command in SWEPT and all(map(_done, asked)):
                from launch.submit.conclude import conclude  # rich takes a while, as below

                conclude(request.home)
    print(command("python", "-m", "launch.status", request.home))
    if failures:
        raise local.NotDoneError("; ".join(map(str, failures)))


def preview(asked: Sequence[Request]) -> None:
    """Show what would be submitted, then name what it lacks. Nothing is written."""
    selections = [select(request) for request in asked]
    for request, selection in zip(asked, selections, strict=True):
        report.everything(request, selection)
    for request, selection in zip(asked, selections, strict=True):
        needed.require(request, selection)


def carry_out(request: Request) -> local.NotDoneError | None:
    """Submit what one folder lacks, or run it here; return an error that does not keep others from being submitted."""
    with nullcontext() if request.folder.path == request.home else locked(request.folder.path):
        selection = select(request)
        needed.require(request, selection)
        freeze.write(request, selection.submission)
        report.states(request, selection)
        code = version()
        report.version_of(request.folder, code)
        if request.cluster is None:
            try:
                run_here(request, selection, code)
            except local.NotDoneError as error:
                return error
        else:
            for part in selection.parts:
                submit(request, request.cluster, selection.submission, part, code)
    return None


def _done(request: Request) -> bool:
    return all(request.folder.is_done(run.id) for run in request.submission.runs)


def submit(request: Request, cluster: Cluster, submission: Submission, part: Part, code: Version) -> None:
    """Submit one array and record it. SlurmError: it was refused."""
    folder = request.folder
    job_folder = folder.new_job_folder()
    _write_elements(job_folder, folder, submission, part, code, cluster)
    (job_folder / "cluster.yaml").write_text(reader.dump(cluster), encoding="utf-8")
    write_script(job_folder / "job.sbatch", report.batch_text(request, cluster, submission, part, job_folder))
    with _uninterrupted():
        try:
            queue.require_sbatch(", or give --bash")
            job = queue.submit(job_folder / "job.sbatch")
        except queue.SlurmError as error:
            write_refusal(job_folder, str(error))
            raise
        _record(job_folder, part, job, code)
    waits = f", after job {part.aftercorr or part.afterok[0]}" if part.aftercorr or part.afterok else ""
    at_a_time = f", {cluster.throttle} at a time" if cluster.throttle else ""
    print(f"job {job}: {report.runs(len(part.runs))}{at_a_time}{waits}; {printable(str(job_folder / 'job.sbatch'))}")


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
    return [f"--track.group={folder.label}"] if tracked else []


def run_here(request: Request, selection: Selection, code: Version) -> None:
    """Run all elements on this machine, then show the table."""
    from launch.status import command as table  # rich takes a while, as below

    for part in selection.parts:
        job_folder = request.folder.new_job_folder()
        _write_elements(job_folder, request.folder, selection.submission, part, code, None)
        _record(job_folder, part, None, code)
        try:
            local.run(
                ((run.id, job_folder / sbatch.element_name(index)) for index, run in part.runs.items()),
                request.shares,
                request.folder.path / "logs",
            )
        finally:
            with suppress(InputError):  # nothing has begun
                table.main([str(request.folder.path)])


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


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Block signals between sbatch and the record of its job."""
    asked = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, asked)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
