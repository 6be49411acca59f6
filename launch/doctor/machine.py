"""Checks of cores, memory, disk, shared memory and open files. Free of torch."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from configs import cgroup, resources
from launch.doctor.checks import Check, limit

MEMORY_NEEDED = 4e9  # torch, timm and a few batches of photographs take about half of it
DISK_NEEDED = 5e9
SHARED_MEMORY_NEEDED = 1e9
FILES_NEEDED = 1024


def checks(folders: Mapping[str, Path], gpus: int) -> list[Check]:
    """All checks of this module. folders: output folders by name."""
    found = [
        cores(resources.cpu_model(), resources.visible_cores(), cgroup.cpu_limit()),
        memory(resources.machine_memory(), cgroup.memory_left()),
        *(disk(name, folder) for name, folder in folders.items()),
        shared_memory(Path("/dev/shm"), gpus),
        open_files(_file_limit()),
    ]
    return [check for check in found if check is not None]


def cores(name: str, visible: int, quota: float | None) -> Check:
    """A container with a CPU quota still sees every core, and so do programs that start a thread for each."""
    if quota is None or quota >= visible:
        count = f"{visible} core{'s' if visible > 1 else ''}"
        return limit("CPU", f"{name}, {count}", good=visible > 1, advice="decoding and training share one core: slow")
    threads = max(1, int(quota))
    advice = f"start as many threads as that: OMP_NUM_THREADS={threads} and --data.threads {threads}"
    return Check("CPU", "warning", f"{name}, {visible} cores in sight, time for {quota:g} of them", advice)


def memory(machine: int | None, group: int | None) -> Check:
    """Free memory of the machine, or what the container or job may still use, whichever is less."""
    if machine is None and group is None:
        return Check("memory", "ok", "this system does not tell how much is available")
    available = min(size for size in (machine, group) if size is not None)
    limited = group is not None and (machine is None or group < machine)
    found = f"{gigabytes(available)} available" + (" (limit of the container or job)" if limited else "")
    advice = "ask for more, or end other programs; data.executor host and a smaller data.prefetch need least"
    return limit("memory", found, good=available >= MEMORY_NEEDED, advice=advice)


def disk(name: str, folder: Path) -> Check:
    """Free space where a folder is, or will be created."""
    there = folder.absolute()
    while not _exists(there):
        there = there.parent
    if not os.access(there, os.W_OK | os.X_OK):
        return Check(name, "warning", f"{folder} cannot be written to", _elsewhere(name))
    free = shutil.disk_usage(there).free
    found = f"{gigabytes(free)} free in {folder}"
    return limit(name, found, good=free >= DISK_NEEDED, advice=f"make room; {_elsewhere(name)}")


def _exists(path: Path) -> bool:
    """Whether there is such a file or folder; in a folder that may not be entered there is none."""
    try:
        return path.exists()
    except PermissionError:
        return False


def _elsewhere(name: str) -> str:
    return "HEARTCUT_CACHE names another folder" if name == "cache folder" else "--run_dir names another folder"


def shared_memory(folder: Path, gpus: int) -> Check | None:
    """GPUs of one machine exchange gradients through /dev/shm; containers often have 64 MB of it. None without one."""
    if not folder.is_dir():
        return None
    size = shutil.disk_usage(folder).total
    advice = "NCCL may fail between the GPUs: start the container with --shm-size=1g or --ipc=host"
    return limit(str(folder), gigabytes(size), good=gpus < 2 or size >= SHARED_MEMORY_NEEDED, advice=advice)


def _file_limit() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def open_files(allowed: int | None) -> Check:
    """How many files, pipes and sockets this process may hold open."""
    if allowed is None:
        return Check("open files", "ok", "no limit")
    return limit("open files", f"{allowed:,} allowed", good=allowed >= FILES_NEEDED, advice="raise it: ulimit -n 4096")


def gigabytes(size: float) -> str:
    """Bytes in words: MB below one GB."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.0f} MB"
