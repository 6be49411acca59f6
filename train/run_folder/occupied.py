"""Exclusive work in a run folder: one writer at a time, and a status that says how the work ended."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import locks
from configs.errors import UserError
from configs.files import remove_partial
from train.run_folder import causes, pulse, status
from train.run_folder.run_dir import RunDir

if TYPE_CHECKING:
    from accelerate import Accelerator

SLURM = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT")
Before = Callable[[RunDir, str], None]


@contextmanager
def occupied(
    accelerator: Accelerator, folder: RunDir, config_yaml: str, *, before: Before | None = None
) -> Iterator[None]:
    """Open a run folder on all processes; the main one is alone in it and records how the work ends.

    `before` is called with the folder and the config on the main process, before the folder is opened.
    LockedError: another process works in it. InputError: it holds a run with another config.
    """
    number, count = accelerator.process_index, accelerator.num_processes
    if not accelerator.is_main_process:
        with causes.witnessed(folder.path, number), pulse.watched(folder.path, number, count, causes.record):
            accelerator.wait_for_everyone()
            yield
        return
    with (
        recorded(folder, config_yaml, before=before),
        _explained(accelerator, folder),
        pulse.watched(folder.path, number, count, lambda path, _, error: status.end(path, error)),
    ):
        accelerator.wait_for_everyone()
        yield


@contextmanager
def _explained(accelerator: Accelerator, folder: RunDir) -> Iterator[None]:
    """Raise another process's error in place of the broken connection that it left."""
    try:
        yield
    except BaseException as error:
        cause = error if accelerator.num_processes == 1 else causes.explained(folder.path, error)
        if cause is error:
            raise
        raise cause from error


@contextmanager
def recorded(
    folder: RunDir, config_yaml: str, *, before: Before | None = None, kind: str | None = None
) -> Iterator[None]:
    """Be alone in a run folder and record how the work ends; for the main process only.

    Args:
        folder: The run folder; it need not exist.
        config_yaml: The resolved config.
        before: Called with both before the folder is opened.
        kind: What works there, for the status; None: a training.

    Raises:
        LockedError: Another process works in the folder.
        InputError: It holds a run with another config.
    """
    with locks.alone(folder.path, lambda: _refusal(folder.path)):
        if before is not None:
            before(folder, config_yaml)
        remove_partial(folder.path)
        folder.open(config_yaml)
        finished = folder.done.exists()
        causes.forget(folder.path)
        if not finished:
            status.write(folder.path, "running", _start(folder.path, kind))
        try:
            yield
        except BaseException as error:
            status.end(folder.path, error)
            raise
        if not finished or status.read(folder.path).get("state") != "done":  # killed after `done`
            status.end(folder.path, None)


@contextmanager
def refusal_recorded(folder: RunDir, config_yaml: str) -> Iterator[None]:
    """Record a refusal that comes before a run's processes are there to open its folder; a finished run keeps its end.

    On the process of rank 0. Nothing is recorded where another process works, or beside a run with another config.
    """
    try:
        yield
    except UserError as error:
        if os.environ.get("RANK", "0") == "0" and not folder.done.exists():
            with suppress(UserError), recorded(folder, config_yaml):
                raise error
        raise


def _start(folder: Path, kind: str | None) -> dict[str, Any]:
    slurm = {key.lower(): os.environ[key] for key in SLURM if key in os.environ}
    before = status.read(folder).get("starts")
    starts = (before if type(before) is int else 0) + 1
    begun = status.process() | {"starts": starts} | ({} if kind is None else {"kind": kind})
    return begun | slurm | {"since": status.now()}


def _refusal(folder: Path) -> str:
    owner = status.read(folder)
    who = f"pid {owner.get('pid')} on {owner.get('host')}"
    return f"{folder} is in use by another process ({who}); wait for it, or choose another --run_dir"
