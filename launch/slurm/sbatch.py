"""The text of a batch job: a pure function of a cluster and a job. Free of torch.

srun starts the element's words on each node, in one task: launch.run and a command, or launch.agent. Slurm tells the
step, not this script, to stop (--signal without B:, and no trap), and the exit code says what becomes of the job:

    0           it is done
    75          it stopped in an orderly way: the element is queued again, until `requeues` is reached; then, submit it
                again
    143         SIGTERM ended it before it could listen, in its first moments: likewise
    otherwise   it failed

Slurm queues an element again by itself when its node dies. That counts towards `requeues`: one start too many ends with
75 before any work.

A launcher ends with 1 however well its processes ended; launch.run ends with the run's own exit code.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from configs.errors import ExitCode, require
from configs.shown import quote
from launch.slurm.cluster import Cluster

LABEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
PLAIN_PATH = re.compile(r"/[A-Za-z0-9_.,:=@+/-]*")
PATIENCE = 60
"""Seconds that what comes afterwards may take."""
PARENT = re.compile(r"\d+(_\d+)?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Element:
    """One run."""

    words: tuple[str, ...]
    """What follows python -m on each node."""

    def __post_init__(self) -> None:
        require(bool(self.words), "words", self.words, "a command and its options")


@dataclass(frozen=True, kw_only=True, slots=True)
class Array:
    """Many runs, each described by a file: element_name(index) with the content element_text(element)."""

    folder: str
    """Where the files are; absolute."""
    indices: tuple[int, ...]
    """Which of them run, ascending."""

    def __post_init__(self) -> None:
        require(self.folder.startswith("/"), "folder", self.folder, "an absolute path")
        ascending = all(one < two for one, two in pairwise(self.indices))
        valid = "at least one number, ascending from 0"
        require(bool(self.indices) and self.indices[0] >= 0 and ascending, "indices", self.indices, valid)


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A job: name, folders and work."""

    name: str
    """In Slurm's queue."""
    logs: str
    """Folder of the logs; absolute. It must exist when the job is submitted, or Slurm drops the logs silently."""
    directory: str
    """Where commands run; absolute."""
    work: Element | Array
    afterwards: tuple[str, ...] = ()
    """What follows python -m once the work is done, on its first node, for a minute at most; the job does not fail with
    it."""

    def __post_init__(self) -> None:
        require(LABEL.fullmatch(self.name) is not None, "name", self.name, "letters, digits, and _ . - between them")
        require_plain("logs", self.logs)
        require(self.directory.startswith("/"), "directory", self.directory, "an absolute path")


def require_plain(key: str, path: str) -> None:
    """UsageError, which names the key: #SBATCH lines do not take a folder."""
    valid = "an absolute path of letters, digits and _ . , : = @ + / -, which is all that #SBATCH lines take"
    require(PLAIN_PATH.fullmatch(path) is not None, key, path, valid)


def text(cluster: Cluster, job: Job, *, afterok: Sequence[str] = (), aftercorr: str | None = None) -> str:
    """Return the script for sbatch.

    Args:
        cluster: What Slurm is asked for.
        job: What is run.
        afterok: Jobs that must have succeeded; if one cannot any more, this job is cancelled.
        aftercorr: An array whose element of the same number must have succeeded, likewise.
    """
    lines = ["#!/bin/bash", *(f"#SBATCH --{option}" for option in _options(cluster, job, afterok, aftercorr))]
    parts = [lines, _setup(cluster, job), _work(job.work), _step(cluster), _ending(cluster, job)]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def element_name(index: int) -> str:
    """The name of an element's file."""
    return f"element-{index:04d}.sh"


def element_text(element: Element) -> str:
    """The content of an element's file: an assignment for bash."""
    words = "".join(f"    {quote(word)}\n" for word in element.words)
    return f"words=(\n{words})\n"


def _options(cluster: Cluster, job: Job, afterok: Sequence[str], aftercorr: str | None) -> list[str]:
    array = isinstance(job.work, Array)
    options = [f"job-name={job.name}", f"output={job.logs}/{'%A_%a' if array else '%j'}.log", "open-mode=append"]
    if isinstance(job.work, Array):
        limit = f"%{cluster.throttle}" if cluster.throttle else ""
        options.append(f"array={_ranges(job.work.indices)}{limit}")
    again = "requeue" if cluster.requeues else "no-requeue"
    options += [again, f"signal=TERM@{cluster.signal_seconds}", *_dependencies(afterok, aftercorr)]
    for key in ("partition", "account", "qos", "constraint"):
        options += [f"{key}={getattr(cluster, key)}"] if getattr(cluster, key) else []
    options += [f"nodes={cluster.nodes}", "ntasks-per-node=1", f"cpus-per-task={cluster.cpus_per_task}"]
    kind = f"{cluster.gpu_type}:" if cluster.gpu_type else ""
    if cluster.gpus:
        by_gres = cluster.gpu_request == "gres"
        options.append(f"gres=gpu:{kind}{cluster.gpus}" if by_gres else f"gpus-per-node={kind}{cluster.gpus}")
    options += [f"mem={cluster.mem}"] if cluster.mem else []
    return [*options, f"time={cluster.time}", *(option.removeprefix("--") for option in cluster.options)]


def _dependencies(afterok: Sequence[str], aftercorr: str | None) -> list[str]:
    for parent in (*afterok, *([] if aftercorr is None else [aftercorr])):
        require(PARENT.fullmatch(parent) is not None, "dependency", parent, "the number of a job")
    conditions = [":".join(["afterok", *afterok])] if afterok else []
    conditions += [f"aftercorr:{aftercorr}"] if aftercorr is not None else []
    # Without kill-on-invalid-dep, a job whose parent failed waits forever.
    return [f"dependency={','.join(conditions)}", "kill-on-invalid-dep=yes"] if conditions else []


def _setup(cluster: Cluster, job: Job) -> list[str]:
    return [
        *(f"module load {quote(module)} || exit" for module in cluster.modules),
        "set -eo pipefail",
        f"cd {quote(job.directory)}",
        *([f"source {quote(cluster.venv)}/bin/activate"] if cluster.venv else []),
        *(f"export {name}={quote(value)}" for name, value in cluster.environment.items()),
        "# Seconds that processes have to save before the launcher kills them: fewer than Slurm gives the job.",
        f"export TORCH_ELASTIC_SHUTDOWN_TIMEOUT={cluster.shutdown_seconds}",
    ]


def _work(work: Element | Array) -> list[str]:
    if isinstance(work, Array):
        named = [
            "id=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID  # SLURM_JOB_ID may stand for the whole array",
            f"printf -v element '%s/element-%04d.sh' {quote(work.folder)} \"$SLURM_ARRAY_TASK_ID\"",
            'source "$element"  # words',
        ]
    else:
        named = ["id=$SLURM_JOB_ID", element_text(work).rstrip("\n")]
    return [
        *named,
        'echo "$id, start $((${SLURM_RESTART_COUNT:-0} + 1)), $(date), $SLURM_JOB_NODELIST: ${words[*]}"',
    ]


def _step(cluster: Cluster) -> list[str]:
    srun = f"srun --nodes={cluster.nodes} --ntasks-per-node=1 --cpus-per-task={cluster.cpus_per_task} --export=ALL"
    # A launcher that ends must not end the others, which may be saving.
    patience = f" --kill-on-bad-exit=0 --wait={cluster.signal_seconds}" if cluster.nodes > 1 else ""
    return [
        *_given_up(">", cluster),
        "code=0",
        f"{srun}{patience} \\",
        f'    {_python(cluster)} "${{words[@]}}" || code=$?',
    ]


def _given_up(comparison: str, cluster: Cluster) -> list[str]:
    """The end of an element whose number of requeues so far compares with the limit like this."""
    return [
        f"if ((${{SLURM_RESTART_COUNT:-0}} {comparison} {cluster.requeues})); then",
        f'    echo "$id: stopped and resumable, after {cluster.requeues} requeues; submit it again" >&2',
        f"    exit {int(ExitCode.STOPPED)}",
        "fi",
    ]


def _python(cluster: Cluster) -> str:
    return " ".join([*map(quote, cluster.container), "python -m"])


def _ending(cluster: Cluster, job: Job) -> list[str]:
    stopped, failed = int(ExitCode.STOPPED), "${words[*]}: exit code $code"
    words = " ".join(map(quote, job.afterwards))
    afterwards = [f"    if ((! code)); then timeout {PATIENCE} {_python(cluster)} {words} || true; fi"] if words else []
    return [
        f"if ((code != {stopped} && code != {128 + signal.SIGTERM})); then",
        f'    if ((code)); then echo "$id: {failed}" >&2; fi',
        *afterwards,
        '    exit "$code"',
        "fi",
        *_given_up(">=", cluster),
        'scontrol requeue "$id" || echo "$id: stopped and resumable, but not queued again; submit it again" >&2',
        f"exit {stopped}",
    ]


def _ranges(indices: Sequence[int]) -> str:
    """0-3,7 for 0, 1, 2, 3, 7."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
