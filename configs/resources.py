"""CPU cores and memory available to this process, within the limits of its container or batch job."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from configs import cgroup
from configs.errors import require

CORES = "HEARTCUT_CORES"
"""Variable that lowers the number of cores, for runs that share a machine."""
GPU_RUNS = "HEARTCUT_GPU_RUNS"
"""Variable with the number of runs that share each GPU, and its memory."""
MEMINFO = Path("/proc/meminfo")
_alone: ContextVar[bool] = ContextVar("_alone", default=False)


def cpu_model() -> str:
    """Name of the CPU."""
    try:
        named = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        named = None
    return named[1] if named else platform.processor() or platform.machine()


def visible_cores() -> int:
    """Cores the OS reports, ignoring the container's quota."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cores() -> int:
    """Cores worth starting threads for: the visible ones, the container's quota or HEARTCUT_CORES, the lowest of them.

    UsageError: HEARTCUT_CORES is no number of at least 1.
    """
    limits = [int(limit) for limit in (cgroup.cpu_limit(), _count(CORES)) if limit is not None]
    return max(1, min([visible_cores(), *limits]))


def runs_on_a_gpu() -> int:
    """Runs that share each GPU, as HEARTCUT_GPU_RUNS says. UsageError: it is no number of at least 1."""
    return _count(GPU_RUNS) or 1


def _count(variable: str) -> int | None:
    own = os.environ.get(variable)
    require(own is None or (own.isdecimal() and int(own) >= 1), variable, own, "a number of at least 1")
    return None if own is None else int(own)


def local_processes() -> int:
    """Processes of this run on this machine, as torchrun and accelerate say; they share its cores and memory."""
    count = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return max(1, int(count)) if count.isdigit() else 1


@contextmanager
def working_alone() -> Iterator[None]:
    """While the other processes of this machine wait for this one, it takes their cores too."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


def thread_share() -> int:
    """Threads for this process: its share of the cores; all of them in `working_alone`."""
    return cores() if _alone.get() else max(1, cores() // local_processes())


def machine_memory(meminfo: Path = MEMINFO) -> int | None:
    """Bytes that the machine can allocate without swapping; None where the kernel does not report it (not Linux)."""
    try:
        lines = meminfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def available_memory() -> int | None:
    """Bytes that this process can still allocate: the lower of the machine's and the container's or job's limit."""
    known = [size for size in (machine_memory(), cgroup.memory_left()) if size is not None]
    return min(known, default=None)
