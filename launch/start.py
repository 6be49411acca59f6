"""The words that start a command in a given place. Pure, and free of torch.

    one process                     python -m train.X
    several, on the GPUs or the
    CPU of one machine              LAUNCHER --multi_gpu --num_processes N ... -m train.X
    Slurm, several nodes            srun, one task on each node: python -m launch.run train.X
    in such a task                  LAUNCHER --multi_gpu --num_machines M --machine_rank R ... -m train.X

LAUNCHER is python -m accelerate.commands.launch; accelerate launch does the same once it has imported what accelerate's
other commands need, which takes 2.5 s of a core.
accelerate 1.15 starts one process for `--cpu --num_processes 2`, hence --multi_gpu on a CPU too.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from configs.errors import UsageError, require
from configs.shown import quote

FIRST_PORT, PORTS = 20_000, 12_000
"""Below the ports that a kernel hands out by itself."""
LAUNCHER = "accelerate.commands.launch"
PINNED = ("--mixed_precision", "no", "--dynamo_backend", "no", "--gpu_ids", "all")
"""What a user's default_config.yaml would change otherwise."""
SHUTDOWN = "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"
SHUTDOWN_SECONDS = 150
"""Instead of torchrun's 30, which are too few for a large checkpoint."""
THREADS = "OMP_NUM_THREADS"
CUDA = "CUDA_VISIBLE_DEVICES"
OTHER_MAKERS = ("ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")
"""Where Slurm names GPUs of AMD and Intel, which are not counted here."""
MARGIN = 30
"""Seconds that Slurm waits for a node after its launcher has given up on the processes."""
FIRST_SPECIAL_STEP = 0xFFFF_0000
"""Step numbers from here on stand for the batch script and the shell of salloc, not for a step of srun."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """The machine, and the job on it."""

    environment: Mapping[str, str]
    gpus: int = 0
    """GPUs that the driver lists; the environment says which of them this process may use."""
    cores: int = 1
    """Cores within the container's quota and HEARTCUT_CORES: the number of threads worth starting."""
    visible_cores: int = 1
    """Cores the OS reports, ignoring the container's quota."""
    python: str = "python"


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """A command to start."""

    by: Literal["python", "accelerate", "srun"]
    words: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables to set in addition."""

    @property
    def line(self) -> str:
        """The command for a shell, on one line."""
        assignments = [f"{name}={quote(value)}" for name, value in self.environment.items()]
        return " ".join([*assignments, *map(quote, self.words)])


@dataclass(frozen=True, kw_only=True, slots=True)
class Nodes:
    """The nodes of a Slurm step, or one machine outside Slurm."""

    number: int = 1
    rank: int = 0


def plan(place: Place, words: Sequence[str], processes: int | None) -> Start:
    """The command that starts `words` here.

    Args:
        place: The machine and the job.
        words: What follows python -m.
        processes: Number on each machine. None: one for each GPU, or one.

    Raises:
        UsageError: It cannot be started here in this way.
    """
    environment = place.environment
    require(processes is None or processes >= 1, "--processes", processes, "at least 1")
    if "LOCAL_RANK" in environment:
        raise UsageError("launch.run starts the processes itself; call it without accelerate launch or torchrun")
    if nodes := to_reach(environment):
        return _srun(place, nodes, words, processes)
    here = _step(environment) if _in_step(environment) else Nodes()
    gpus = visible_gpus(environment, place.gpus)
    _require_what_slurm_gave(environment, gpus)
    local = _local(gpus, processes)
    if local * here.number == 1:
        own = _threads(place, 1) if place.cores < place.visible_cores else {}
        return Start(by="python", words=(place.python, "-m", *words), environment=own)
    numbers = ["--num_processes", str(local * here.number), "--num_machines", str(here.number)]
    meeting = _meeting_place(environment, here)
    launcher = [place.python, "-m", LAUNCHER, "--multi_gpu", *numbers, *meeting, *PINNED, "-m", *words]
    patience = {} if environment.get(SHUTDOWN) else {SHUTDOWN: str(SHUTDOWN_SECONDS)}
    return Start(by="accelerate", words=tuple(launcher), environment=_threads(place, local) | patience)


def _local(gpus: int, asked: int | None) -> int:
    """Number of processes on this machine."""
    if gpus and asked is not None and asked > gpus:
        found = f"{gpus} GPU{'s are' if gpus > 1 else ' is'} visible, and each process needs its own"
        raise UsageError(f"--processes is {asked}, but {found}; {CUDA}= trains on the CPU")
    return max(gpus, 1) if asked is None else asked


def visible_gpus(environment: Mapping[str, str], installed: int) -> int:
    """Number of the installed GPUs that this process may use, by CUDA_VISIBLE_DEVICES or else by Slurm."""
    named = environment.get(CUDA)
    if named is not None:
        return _until_invalid(named.split(","), installed)
    return min(installed, _allotted(environment, installed))


def _require_what_slurm_gave(environment: Mapping[str, str], gpus: int) -> None:
    """UsageError: Slurm gave this job GPUs, none is visible, and CUDA_VISIBLE_DEVICES does not hide them."""
    allotted = 0 if any(name in environment for name in OTHER_MAKERS) else _allotted(environment, 0)
    if allotted and not gpus and visible_gpus(environment, sys.maxsize):
        raise UsageError(
            f"Slurm gave this job {allotted} GPU{'s' if allotted > 1 else ''} and none is visible here (in a "
            f"container: --nv); {CUDA}= trains on the CPU"
        )


def _allotted(environment: Mapping[str, str], missing: int) -> int:
    """Number of GPUs that Slurm gave to this process on its node."""
    if ids := environment.get("SLURM_STEP_GPUS"):
        return sum(map(_length, ids.split(",")))
    return _number(environment, "SLURM_GPUS_ON_NODE", missing)


def _until_invalid(names: Sequence[str], installed: int) -> int:
    """CUDA stops at the first name that is no device: an index out of range, or a word such as NoDevFiles."""
    count = 0
    for name in map(str.strip, names):
        index = re.fullmatch(r"\d+", name)
        if not installed or not (int(name) < installed if index else name.startswith(("GPU-", "MIG-"))):
            break
        count += 1
    return count


def _length(ids: str) -> int:
    """Number of ids in 3, or in 0-3."""
    bounds = re.fullmatch(r"(\d+)-(\d+)", ids)
    return int(bounds[2]) - int(bounds[1]) + 1 if bounds else 1


def _in_step(environment: Mapping[str, str]) -> bool:
    """Whether srun started this process. A batch script has SLURM_PROCID and SLURM_NODEID too."""
    return _number(environment, "SLURM_STEP_ID", FIRST_SPECIAL_STEP) < FIRST_SPECIAL_STEP


def to_reach(environment: Mapping[str, str]) -> int:
    """Number of allocated nodes that srun has to reach from here; 0: none.

    A batch script already runs on its only node. The shell of salloc may run on a machine outside the allocation.
    """
    if "SLURM_JOB_ID" not in environment or _in_step(environment):
        return 0
    nodes = _number(environment, "SLURM_JOB_NUM_NODES", 1)
    return nodes if nodes > 1 or "SLURMD_NODENAME" not in environment else 0


def _step(environment: Mapping[str, str]) -> Nodes:
    nodes = _number(environment, "SLURM_STEP_NUM_NODES", 1)
    tasks = _number(environment, "SLURM_STEP_NUM_TASKS", 1)
    if tasks != nodes:
        raise UsageError(
            f"this step has {tasks} tasks on {nodes} node{'s' if nodes > 1 else ''}, and each would start all "
            "processes; srun --ntasks-per-node 1"
        )
    return Nodes(number=nodes, rank=_number(environment, "SLURM_NODEID", 0))


def _meeting_place(environment: Mapping[str, str], nodes: Nodes) -> list[str]:
    if nodes.number == 1:
        return ["--machine_rank", "0", "--main_process_port", "0"]  # a free one
    host = first_host(environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST") or "")
    port = FIRST_PORT + _number(environment, "SLURM_JOB_ID", 0) % PORTS
    rank = ["--machine_rank", str(nodes.rank), "--rdzv_backend", "static"]
    return [*rank, "--main_process_ip", host, "--main_process_port", str(port)]


def first_host(nodes: str) -> str:
    """The first host of a Slurm node list: rack0n08 of rack[0-1]n[08-11,15],login1. UsageError: it names none.

    Read here, because scontrol is missing in most containers.
    """
    first = re.fullmatch(r"((?:[\w.:-]|\[\w+[\w,-]*\])+)(?:,.*)?", nodes)
    if first is None:  # otherwise each node would train alone
        raise UsageError(f"the node list of this step, {nodes!r}, names no host")
    return re.sub(r"\[(\w+)[\w,-]*\]", r"\1", first[1])


def _srun(place: Place, nodes: int, words: Sequence[str], processes: int | None) -> Start:
    environment = place.environment
    # Some versions of srun inherit neither cores nor tasks, and start as many tasks as the job has.
    tasks = ["--nodes", str(nodes), "--ntasks", str(nodes), "--ntasks-per-node", "1"]
    allotted = re.findall(r"(\d+)(?:\(x\d+\))?", environment.get("SLURM_JOB_CPUS_PER_NODE", ""))
    asked = ["--cpus-per-task", str(min(map(int, allotted)))] if allotted else []
    # A launcher that ends must not end the others, which may be saving.
    patience = ["--export=ALL", "--kill-on-bad-exit=0", f"--wait={shutdown_seconds(environment) + MARGIN}"]
    inner = [place.python, "-m", "launch.run", *([] if processes is None else ["--processes", str(processes)])]
    return Start(by="srun", words=("srun", *tasks, *asked, *patience, *inner, *words))


def shutdown_seconds(environment: Mapping[str, str]) -> int:
    """Seconds that torchrun waits for processes that were told to stop."""
    return _number(environment, SHUTDOWN, SHUTDOWN_SECONDS)


def _threads(place: Place, processes: int) -> dict[str, str]:
    """Threads of each process: with one for every core in each, training is many times slower."""
    return {} if place.environment.get(THREADS) else {THREADS: str(max(place.cores // processes, 1))}


def _number(environment: Mapping[str, str], name: str, missing: int) -> int:
    text = environment.get(name, "")
    if not text:
        return missing
    if not re.fullmatch(r"\d+", text):
        raise UsageError(f"{name} is {text!r}; it must be a number")
    return int(text)
