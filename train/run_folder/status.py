"""How a run stands: status.json in its folder, and what follows from it. Free of torch.

    {"state": "running", "exit_code": 75, "reason": ..., "host": ..., "pid": ..., "starts": 2, "epoch": 3, ...}

Stored states are `running`, `done`, `preempted` and `failed`. A launcher turns every exit code into 1, so the file is
the truth. Every command shows one of STATES.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from configs import locks
from configs.errors import ExitCode, exit_code
from configs.files import json_object, write_atomically
from configs.stopping import StoppedError

NAME = "status.json"
Stored = Literal["running", "done", "preempted", "failed"]
State = Literal["done", "running", "queued", "preempted", "failed", "lost", "waiting", "unknown"]
STATES: tuple[State, ...] = ("done", "running", "queued", "preempted", "failed", "lost", "waiting", "unknown")
"""queued: in Slurm's queue, and not running. preempted: stopped in an orderly way, or by Ctrl-C. lost: the folder says
running, and its process is gone. waiting: not begun. unknown: the folder is a run's, and its status is missing or
damaged."""
UNFINISHED: tuple[State, ...] = ("preempted", "lost", "waiting", "unknown")
"""Nobody works on these; the same command goes on with them."""

FILES = frozenset(("config.yaml", "environment.json", "metrics.jsonl", "result.json", "checkpoints", "done"))
QUIET = 900
"""Seconds without a sign of life after which a run on another host whose lock is free counts as lost: on some file
systems a lock is seen on its own host alone."""


def read(folder: Path, faults: list[str] | None = None) -> dict[str, Any]:
    """What a run folder's status says; nothing if there is none, or it is damaged, which is added to `faults`."""
    return json_object(folder / NAME, [] if faults is None else faults)


def write(folder: Path, state: Stored, values: Mapping[str, Any]) -> None:
    """Replace the status; `updated` says when."""
    own = {"state": state, **{key: value for key, value in values.items() if key != "state"}}
    write_atomically(folder / NAME, json.dumps(own | {"updated": now()}, indent=2) + "\n")


def note(folder: Path, values: Mapping[str, Any]) -> None:
    """Add to the status what is known by now, such as the epoch; for the main process only."""
    found = read(folder)
    write(folder, found.get("state", "running"), found | dict(values))


def touch(folder: Path) -> None:
    """Give a sign of life where there is nothing new to say."""
    with suppress(OSError):
        os.utime(folder / NAME)


def end(folder: Path, error: BaseException | None) -> None:
    """Add how the work ended; None: well."""
    state: Stored = "done" if error is None else "preempted" if isinstance(error, StoppedError) else "failed"
    code = ExitCode.DONE if error is None else exit_code(error)
    reason = None if error is None else str(error) or type(error).__name__
    write(folder, state, read(folder) | {"exit_code": code, "reason": reason})


def process() -> dict[str, Any]:
    """This process, for a status."""
    return {"host": platform.node(), "pid": os.getpid()}


def now() -> str:
    """The time, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def state(folder: Path, values: Mapping[str, Any]) -> State:
    """How a run stands.

    Args:
        folder: Its folder, which need not exist.
        values: What its status says, as `read` returns it.
    """
    found = values.get("state")
    if found == "done" or (folder / "done").exists():
        return "done"
    if found == "running":
        return "running" if alive(folder, values) else "lost"
    if found == "failed":
        return "preempted" if values.get("exit_code") == ExitCode.INTERRUPTED else "failed"
    if found == "preempted":
        return "preempted"
    return "unknown" if is_run(_names(folder)) else "waiting"


def is_run(names: Collection[str]) -> bool:
    """Whether a folder with these entries is a run's: it has a status, or two other files of a run."""
    return NAME in names or len(FILES.intersection(names)) >= 2


def is_free(folder: Path) -> bool:
    """Whether a folder, which need not exist, holds no file that a run would write."""
    return not FILES.union((NAME, "model.safetensors")).intersection(_names(folder))


def alive(folder: Path, values: Mapping[str, Any]) -> bool:
    """Whether the process that wrote a status still works: by its pid on this host, its lock, or what it last wrote."""
    here, pid = values.get("host") == platform.node(), values.get("pid")
    if here and type(pid) is int and not _exists(pid):
        return False
    locked = locks.held(folder)
    if locked is not False or here:
        return locked is not False  # a pid may have gone to another process, the lock has not
    return _silence(folder) < QUIET


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:
        return []


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0) if 0 < pid < 2**31 else None
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        pass
    return 0 < pid < 2**31


def _silence(folder: Path) -> float:
    """Seconds since a run last wrote or touched its status, or wrote a line of metrics."""
    times = [0.0]
    for name in (NAME, "metrics.jsonl"):
        try:
            times.append((folder / name).stat().st_mtime)
        except OSError:
            continue
    return time.time() - max(times)
