"""CPU and memory limits of Linux control groups, versions 1 and 2, as containers and batch jobs set them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

PROCESS = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")


def cpu_limit(process: Path = PROCESS, mount: Path = MOUNT) -> float | None:
    """CPU quota of this process, in cores; None: no limit."""
    limits = []
    for group in _groups("cpu", process, mount):
        quota, _, period = _text(group / "cpu.max").partition(" ")
        if not quota:
            quota, period = _text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us")
        if _is_count(quota) and _is_count(period):  # no limit is written max in version 2, -1 in version 1
            limits.append(int(quota) / int(period))
    return min(limits, default=None)


def memory_left(process: Path = PROCESS, mount: Path = MOUNT) -> int | None:
    """Bytes below the tightest memory limit; None: no limit. File cache counts as free, since the kernel evicts it."""
    left = []
    for group in _groups("memory", process, mount):
        limit = _text(group / "memory.max") or _text(group / "memory.limit_in_bytes")
        used = _text(group / "memory.current") or _text(group / "memory.usage_in_bytes")
        if _is_count(limit) and _is_count(used):
            left.append(max(0, int(limit) - int(used) + _cached(group)))
    return min(left, default=None)


def _groups(controller: str, process: Path, mount: Path) -> Iterator[Path]:
    """Folders of this process's group and of its ancestors: each may set a limit.

    Inside a container, the path in `process` may be the host's and not exist; the mount itself is then the group.
    """
    for line in _text(process).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            roots = [mount, mount / "unified"]
        elif controller in controllers.split(","):
            roots = [mount / controller]
        else:
            continue
        inner = PurePosixPath(path.lstrip("/"))
        for root in roots:
            yield from (root / part for part in (inner, *inner.parents) if ".." not in part.parts)


def _cached(group: Path) -> int:
    """Bytes of file cache that the kernel can evict."""
    fields = dict(line.split(" ", 1) for line in _text(group / "memory.stat").splitlines() if " " in line)
    return int(fields.get("total_inactive_file") or fields.get("inactive_file") or 0)


def _is_count(text: str) -> bool:
    return text.isdigit() and int(text) > 0


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
