"""What this process may use of its machine: cores and memory, as a container or a batch job limits them."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from configs import cgroup

MEMINFO = Path("/proc/meminfo")


def cpu_model() -> str:
    """The processor's name."""
    try:
        named = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        named = None
    return named[1] if named else platform.processor() or platform.machine()


def visible_cores() -> int:
    """Cores on which this process may be scheduled."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cores() -> int:
    """Cores that it is worth starting threads for: a container with a time quota still sees every core."""
    quota = cgroup.cpu_limit()
    return visible_cores() if quota is None else max(1, min(visible_cores(), int(quota)))


def machine_memory(meminfo: Path = MEMINFO) -> int | None:
    """Bytes that the machine can still give away without swapping; None where the kernel does not say (not Linux)."""
    try:
        lines = meminfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def available_memory() -> int | None:
    """Bytes that this process can still take: what the machine has, or its container or job, whichever is less."""
    known = [size for size in (machine_memory(), cgroup.memory_left()) if size is not None]
    return min(known, default=None)
