"""Who works in a run folder, and how it ended: one writer at a time, and status.json for whoever looks from outside.

    {"state": "running | done | preempted | failed", "exit_code": 75, "reason": ..., "host": ..., "pid": ..., ...}

A launcher turns every exit code into 1, so the file is the truth. `preempted` means: start the same command again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from configs import locks
from configs.errors import UserError
from configs.stopping import StoppedError
from train.run_folder import status_file
from train.run_folder.run_dir import RunDir


@contextmanager
def occupied(
    accelerator: Accelerator, folder: RunDir, config_yaml: str, *, before: Callable[[RunDir, str], None] | None = None
) -> Iterator[None]:
    """Open a run folder on all processes, alone in it, and write down how the work in it ends.

    `before` is called with the folder and the config on the main process, before the folder is opened.
    LockedError: another process has it. InputError: it holds a run with another config.
    """
    main = accelerator.is_main_process
    with locks.alone(folder.path, lambda: _refusal(folder.path)) if main else nullcontext():
        if main:
            if before is not None:
                before(folder, config_yaml)
            folder.open(config_yaml)
            if not folder.done.exists():
                status_file.write(folder.path, _start(folder.path))
        accelerator.wait_for_everyone()
        finished = folder.done.exists()
        try:
            yield
        except BaseException as error:
            if main:
                note(folder.path, _end(error))
            raise
        if main and not finished:
            note(folder.path, {"state": "done", "exit_code": 0, "reason": None})


def note(folder: Path, values: Mapping[str, Any]) -> None:
    """Add what is known by now, such as the epoch; for the main process only."""
    status_file.write(folder, status_file.read(folder) | dict(values))


def _start(folder: Path) -> dict[str, Any]:
    keys = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT")
    slurm = {key.lower(): os.environ[key] for key in keys if key in os.environ}
    starts = int(status_file.read(folder).get("starts", 0)) + 1
    begun = {"state": "running", **status_file.process(), "starts": starts}
    return begun | slurm | {"since": status_file.now()}


def _end(error: BaseException) -> dict[str, Any]:
    code = 130 if isinstance(error, KeyboardInterrupt) else 74 if isinstance(error, OSError) else 1
    code = error.exit_code if isinstance(error, UserError) else code
    state = "preempted" if isinstance(error, StoppedError) else "failed"
    return {"state": state, "exit_code": code, "reason": str(error) or type(error).__name__}


def _refusal(folder: Path) -> str:
    owner = status_file.read(folder)
    who = f"pid {owner.get('pid')} on {owner.get('host')}"
    return f"{folder} is in use by another process ({who}); wait for it, or choose another --run_dir"
