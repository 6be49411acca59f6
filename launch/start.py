"""Where a command is to run, and the words that start it there. Pure, and free of torch.

    one process                     python -m train.X
    several, on the GPUs or the
    CPU of one machine              accelerate launch --multi_gpu --num_processes N ... -m train.X
    Slurm, several nodes            srun, one task on each node: python -m launch.run train.X
    in such a task                  accelerate launch --multi_gpu --num_machines M --machine_rank R ... -m train.X

With accelerate 1.15, `--cpu --num_processes 2` would start one process, hence --multi_gpu on a CPU too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from configs.errors import UsageError, require
from launch.slurm.sbatch import quote

FIRST_PORT, PORTS = 20_000, 12_000
"""Below the ports that a kernel hands out by itself."""
PINNED = ("--mixed_precision", "no", "--dynamo_backend", "no", "--gpu_ids", "all")
"""What a user's default_config.yaml would change otherwise."""
SHUTDOWN = "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"
SHUTDOWN_SECONDS = 150
"""What torchrun's 30 are replaced by: little for a large checkpoint."""
THREADS = "OMP_NUM_THREADS"
MARGIN = 30
"""Seconds that Slurm waits longer for a node than its launcher for the processes."""
FIRST_SPECIAL_STEP = 0xFFFF_0000
"""Numbers from here on are no steps of srun, but the batch script and the shell of salloc."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """What is known of the machine, and of the job on it."""

    environment: Mapping[str, str]
    gpus: int = 0
    """All that the driver lists; which of them are ours, the environment says."""
    cores: int = 1
    """As many threads as it is worth starting."""
    cores_in_sight: int = 1
    """As many as a program would start that does not know of a container's quota."""
    python: str = "python"
    accelerate: tuple[str, ...] = ("accelerate", "launch")


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """What is started."""

    by: Literal["python", "accelerate", "srun"]
    words: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Set beside what is set already."""

    @property
    def line(self) -> str:
        """The same for a shell, on one line."""
        assignments = [f"{name}={quote(value)}" for name, value in self.environment.items()]
        return " ".join([*assignments, *map(quote, self.words)])


@dataclass(frozen=True, kw_only=True, slots=True)
class Nodes:
    """Those of a Slurm step, or a machine by itself."""

    number: int = 1
    rank: int = 0


def plan(place: Place, words: Sequence[str], processes: int | None) -> Start:
    """Return what starts a command here.

    Args:
        place: Where this is.
        words: The command and its options, what follows python -m.
        processes: On each machine. None: one for each GPU, or one.

    Raises:
        UsageError: It cannot be started like this from here.
    """
    environment = place.environment
    require(processes is None or processes >= 1, "--processes", processes, "at least 1")
    if "LOCAL_RANK" in environment:
        raise UsageError("launch.run starts the processes itself; call it without accelerate launch or torchrun")
    if nodes := _to_reach(environment):
        return _srun(place, nodes, words, processes)
    here = _step(environment) if _in_step(environment) else Nodes()
    local = _local(visible_gpus(environment, place.gpus), processes)
    if local * here.number == 1:
        own = _threads(place, 1) if place.cores < place.cores_in_sight else {}
        return Start(by="python", words=(place.python, "-m", *words), environment=own)
    numbers = ["--num_processes", str(local * here.number), "--num_machines", str(here.number)]
    meeting = _meeting_place(environment, here)
    launcher = [*place.accelerate, "--multi_gpu", *numbers, *meeting, *PINNED, "-m", *words]
    patience = {} if environment.get(SHUTDOWN) else {SHUTDOWN: str(SHUTDOWN_SECONDS)}
    return Start(by="accelerate", words=tuple(launcher), environment=_threads(place, local) | patience)


def _local(gpus: int, asked: int | None) -> int:
    """Processes of this machine."""
    if gpus and asked is not None and asked > gpus:
        found = f"{gpus} GPU{'s are' if gpus > 1 else ' is'} visible, and each process needs its own"
        raise UsageError(f"--processes is {asked}, but {found}; CUDA_VISIBLE_DEVICES= trains on the CPU")
    return max(gpus, 1) if asked is None else asked


def visible_gpus(environment: Mapping[str, str], installed: int) -> int:
    """How many of the installed GPUs are this process's: CUDA_VISIBLE_DEVICES says, or else Slurm."""
    named = environment.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return _until_invalid(named.split(","), installed)
    if allotted := environment.get("SLURM_STEP_GPUS"):
        return min(installed, sum(map(_length, allotted.split(","))))
    return min(installed, _number(environment, "SLURM_GPUS_ON_NODE", installed))


def _until_invalid(names: Sequence[str], installed: int) -> int:
    """CUDA takes devices up to the first that is none: an index out of range, or a word such as NoDevFiles."""
    count = 0
    for name in map(str.strip, names):
        index = re.fullmatch(r"\d+", name)
        if not installed or not (int(name) < installed if index else name.startswith(("GPU-", "MIG-"))):
            break
        count += 1
    return count


def _length(ids: str) -> int:
    """Of 3, or of 0-3."""
    bounds = re.fullmatch(r"(\d+)-(\d+)", ids)
    return int(bounds[2]) - int(bounds[1]) + 1 if bounds else 1


def _in_step(environment: Mapping[str, str]) -> bool:
    """Whether srun started this. A batch script has SLURM_PROCID and SLURM_NODEID just the same."""
    return _number(environment, "SLURM_STEP_ID", FIRST_SPECIAL_STEP) < FIRST_SPECIAL_STEP


def _to_reach(environment: Mapping[str, str]) -> int:
    """Nodes of an allocation on which nothing of ours runs yet; 0: go on here.

    On one node a batch script goes on where it is. A shell of salloc may be on another machine altogether.
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
    if first is None:  # a node that knew no other would train alone
        raise UsageError(f"the node list of this step, {nodes!r}, names no host")
    return re.sub(r"\[(\w+)[\w,-]*\]", r"\1", first[1])


def _srun(place: Place, nodes: int, words: Sequence[str], processes: int | None) -> Start:
    environment = place.environment
    # srun inherits neither cores nor tasks in all versions, and would start as many tasks as the job has.
    tasks = ["--nodes", str(nodes), "--ntasks", str(nodes), "--ntasks-per-node", "1"]
    allotted = re.findall(r"(\d+)(?:\(x\d+\))?", environment.get("SLURM_JOB_CPUS_PER_NODE", ""))
    asked = ["--cpus-per-task", str(min(map(int, allotted)))] if allotted else []
    # The launcher that ends first must not take the others with it: they may be saving.
    patience = ["--export=ALL", "--kill-on-bad-exit=0", f"--wait={shutdown_seconds(environment) + MARGIN}"]
    inner = [place.python, "-m", "launch.run", *([] if processes is None else ["--processes", str(processes)])]
    return Start(by="srun", words=("srun", *tasks, *asked, *patience, *inner, *words))


def shutdown_seconds(environment: Mapping[str, str]) -> int:
    """How long torchrun waits for processes that were told to leave."""
    return _number(environment, SHUTDOWN, SHUTDOWN_SECONDS)


def _threads(place: Place, processes: int) -> dict[str, str]:
    """Processes that each start a thread for every core would be many times slower."""
    return {} if place.environment.get(THREADS) else {THREADS: str(max(place.cores // processes, 1))}


def _number(environment: Mapping[str, str], name: str, missing: int) -> int:
    text = environment.get(name, "")
    if not text:
        return missing
    if not re.fullmatch(r"\d+", text):
        raise UsageError(f"{name} is {text!r}; it must be a number")
    return int(text)
