"""Submit a sweep: python -m launch.submit --cluster configs/slurm/one_gpu.yaml --sweep FILE --folder runs/sweeps/NAME

The points become one job array with a run folder for each. What is submitted is copied into the folder first: configs,
commit and differences from it, sweep file, points, cluster. The same command again submits what is neither done nor
queued, such as runs that were stopped and points that were added; what failed, only with --retry.

--after FOLDER carries on each run of another sweep: words may name {parent}, the folder of that run, and {parent.KEY},
what that run overrides KEY with. A run starts as soon as the one that it carries on is done.

    python -m launch.submit --cluster C --folder runs/cache --after runs/teacher train.cache --config F
    python -m launch.submit --cluster C --folder runs/students --after runs/cache --sweep distill.yaml
    python -m launch.submit --cluster C --folder runs/cuts --after runs/students --sweep prune.yaml

--bash runs the same elements here, one after another. --dry_run shows everything and does nothing.
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
from launch.slurm import queue, sbatch
from launch.slurm.cluster import Cluster
from launch.slurm.sbatch import Array, Element, Job
from launch.submit import freeze, local, request
from launch.submit.chain import Part
from launch.submit.request import Wish
from launch.submit.selection import Selection, select
from launch.sweep_folder import Run, Sent, Submission, SweepFolder, locked, write_sent
from train.run_folder.status import STATES
from train.run_folder.version import Version, version

WIDTH = 160


def main(argv: Sequence[str] | None = None) -> None:
    """Do what the command line asks for, and say what was done."""
    wanted = request.read(argv)
    if wanted.dry_run:
        show(wanted, select(wanted))
        return
    freeze.merged(wanted)  # refuses a folder of something else before a lock is put into it
    with locked(wanted.folder.path):
        selection = select(wanted)
        freeze.write(wanted, selection.submission)
        say(wanted, selection)
        code = version()
        _say_version(wanted.folder, code)
        if wanted.cluster is None:
            run_here(wanted, selection, code)
        else:
            for part in selection.parts:
                submit(wanted.folder, selection.submission, wanted.cluster, part, code)
    print(f"python -m launch.status {wanted.folder.path}")


def submit(folder: SweepFolder, submission: Submission, cluster: Cluster, part: Part, code: Version) -> None:
    """Submit one array, and note it. SlurmError: it was refused."""
    home = folder.new_job_folder()
    _write_elements(home, folder, submission, part, code)
    (home / "cluster.yaml").write_text(reader.dump(cluster), encoding="utf-8")
    write_script(home / "job.sbatch", batch_text(folder, submission, cluster, part, home))
    with _uninterrupted():
        job = queue.submit(home / "job.sbatch")
        _note(home, part, job, code)
    waits = f", after job {part.aftercorr or part.afterok[0]}" if part.aftercorr or part.afterok else ""
    at_a_time = f", {cluster.throttle} at a time" if cluster.throttle else ""
    print(f"job {job}: {_runs(len(part.runs))}{at_a_time}{waits}; {home / 'job.sbatch'}")


def batch_text(folder: SweepFolder, submission: Submission, cluster: Cluster, part: Part, home: Path) -> str:
    """The script of one array, whose element files are in `home`."""
    job = Job(
        name=re.sub(r"[^A-Za-z0-9_.-]", "-", folder.path.absolute().name).lstrip(".-") or "sweep",
        logs=str(folder.path.absolute() / "logs"),
        directory=submission.directory,
        work=Array(folder=str(home.absolute()), indices=tuple(part.runs)),
    )
    return sbatch.text(cluster, job, afterok=part.afterok, aftercorr=part.aftercorr)


def element(folder: SweepFolder, submission: Submission, run: Run, group: Sequence[str] = ()) -> Element:
    """One run, for its element file."""
    run_dir = str(folder.run_dir(run.id))
    words = (submission.command, *request.words(folder, submission, run), *group)
    return Element(run_dir=run_dir, words=words)


def wandb_group(folder: SweepFolder, submission: Submission) -> list[str]:
    """The option that makes the runs one group in wandb, where they are there and the config names none."""
    found = request.config(folder, submission, submission.runs[0])
    tracked = found["track.wandb"] != "disabled" and found["track.group"] is None
    return [f"--track.group={folder.path.absolute().name}"] if tracked else []


def run_here(wanted: Wish, selection: Selection, code: Version) -> None:
    """Run all of it, then show the table."""
    from launch.status import command  # rich takes a while, as below

    for part in selection.parts:
        home = wanted.folder.new_job_folder()
        _write_elements(home, wanted.folder, selection.submission, part, code)
        _note(home, part, None, code)
        try:
            local.run((run.id, home / sbatch.element_name(index)) for index, run in part.runs.items())
        finally:
            with suppress(InputError):  # nothing has begun
                command.main([str(wanted.folder.path)])


def say(wanted: Wish, selection: Selection) -> None:
    """How many points there are, and how far they are."""
    counts = Counter(selection.states.values())
    found = [f"{counts[state]:,} {state}" for state in STATES if counts[state]]
    print(f"{wanted.folder.path}: {_runs(len(selection.states))}: {', '.join(found)}")
    for note in (*wanted.notes, *_left_out(wanted, selection)):
        print(f"  {note}")
    if not selection.parts:
        print("  nothing to submit")


def _left_out(wanted: Wish, selection: Selection) -> Iterator[str]:
    others = len(selection.submission.runs) - len(selection.states)
    if others:
        yield f"{_runs(others)} that were submitted before and are not asked for now stay as they are"
    if not wanted.retry and "failed" in selection.states.values():
        yield "what failed is submitted again with --retry"
    if selection.blocked:
        yield f"{_runs(selection.blocked)} left out: in {wanted.submission.after} theirs is neither done nor queued"
    if selection.surplus:
        yield f"{_runs(selection.surplus)} left out, more than this Slurm takes in an array; submit them again later"
    if wanted.cluster is not None and wanted.cluster.throttle and len(selection.parts) > 1:
        yield f"throttle is {wanted.cluster.throttle} in each of {len(selection.parts)} arrays"


def show(wanted: Wish, selection: Selection) -> None:
    """What would be submitted: the scripts and the points."""
    from rich.console import Console

    from configs.tables import plain_table

    folder, submission = wanted.folder, selection.submission
    for number, part in enumerate(selection.parts if wanted.cluster else (), start=1):
        assert wanted.cluster is not None
        home = folder.path / "jobs" / f"{number:04d}"
        print(batch_text(folder, submission, wanted.cluster, part, home))
    say(wanted, selection)
    keys = list(dict.fromkeys(key for run in wanted.submission.runs for key in run.settings))
    table = plain_table()
    for column in ("run", "state", *keys):
        table.add_column(column, no_wrap=True)
    for run in wanted.submission.runs:
        table.add_row(run.id, selection.states[run.id], *(run.settings.get(key, "") for key in keys))
    Console(width=WIDTH).print(table, markup=False)


def _write_elements(home: Path, folder: SweepFolder, submission: Submission, part: Part, code: Version) -> None:
    """Fill a new job folder. It counts for nothing until job.json is in it."""
    group = wandb_group(folder, submission)
    for index, run in part.runs.items():
        text = sbatch.element_text(element(folder, submission, run, group))
        write_script(home / sbatch.element_name(index), text)
    if code.changes:
        write_atomically(home / "code.diff", code.changes)


def _note(home: Path, part: Part, job: str | None, code: Version) -> None:
    elements = {index: run.id for index, run in part.runs.items()}
    now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    write_sent(home, Sent(job=job, elements=elements, commit=code.commit, submitted=now))


def _say_version(folder: SweepFolder, code: Version) -> None:
    earlier = [sent.commit for sent in folder.sent()]
    if code.commit is None:
        print("  the code is in no git checkout: which it was is not noted")
    elif earlier and earlier[-1] != code.commit:
        print(f"  the code is {code.commit} now; runs of {folder.path} were submitted with {earlier[-1]}")


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Between sbatch and the note of its job, Ctrl-C waits."""
    asked = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, asked)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _runs(count: int) -> str:
    return f"{count:,} run{'s' * (count != 1)}"
