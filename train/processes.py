"""The processes of a run: devices and precision, stopping together, work that the main process does for all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar, cast

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs, broadcast_object_list

from configs import stopping
from configs.errors import UsageError, UserError
from configs.stopping import StoppedError
from models.convolution import make_backward_safe
from models.own import registry
from train.config import TIMEOUT_MINUTES
from train.progress import start_logging
from train.run_folder import pulse

T = TypeVar("T")


def start(precision: str, max_minutes: float | None = None, timeout_minutes: float = TIMEOUT_MINUTES) -> Accelerator:
    """Start a command: time limits, processes, log. UsageError as in `make_accelerator`."""
    stopping.limit(max_minutes)
    pulse.limit(timeout_minutes)
    registry.forget()
    accelerator = make_accelerator(precision, timeout_minutes)
    start_logging(accelerator.is_main_process)
    return accelerator


def make_accelerator(precision: str, timeout_minutes: float = TIMEOUT_MINUTES) -> Accelerator:
    """Make the Accelerator for CPU or GPU and any number of processes; a user's default_config.yaml has no effect.

    timeout_minutes: how long a process waits for another one in a collective operation.

    UsageError: the device does not support this precision.
    """
    make_backward_safe()
    # Training does not read BatchNorm's running statistics: evaluation broadcasts them, once an epoch.
    own_buffers = DistributedDataParallelKwargs(broadcast_buffers=False)
    mixed = precision if precision in ("bf16", "fp16") else "no"
    if AcceleratorState._shared_state.get("_mixed_precision", mixed) != mixed:
        AcceleratorState._reset_state()  # an earlier command of this process, such as a notebook, had another precision
    try:
        made = Accelerator(
            cpu=not torch.accelerator.is_available(),
            mixed_precision=mixed,
            dynamo_backend="no",
            kwargs_handlers=[own_buffers, InitProcessGroupKwargs(timeout=timedelta(minutes=timeout_minutes))],
        )
    except ValueError as error:
        if mixed == "no":
            raise
        raise UsageError(f"precision {precision} is not available here ({error}); take float32") from error
    if precision == "fp16" and made.device.type == "cpu":
        raise UsageError("precision is fp16, which needs a GPU, and the device is a CPU; take bf16 or float32")
    return made


def dtype_of(precision: str) -> torch.dtype:
    """Return the type of weights and images."""
    return torch.float64 if precision == "float64" else torch.float32


def image_dtype_of(precision: str) -> torch.dtype:
    """Return the type of training images: float16 where autocast would convert them anyway."""
    return torch.float16 if precision == "fp16" else dtype_of(precision)


def asked_to_stop(accelerator: Accelerator) -> str | None:
    """Return why all processes should stop, or None. Collective: every process must call it."""
    own = stopping.requested()
    if accelerator.num_processes > 1:
        asked = torch.tensor(float(own is not None), device=accelerator.device)
        if float(accelerator.reduce(asked, reduction="sum")) == 0:  # sync: log steps and ends of epochs
            return None
        return own or "another process was asked to stop"
    return own


def require_going_on(accelerator: Accelerator) -> None:
    """Raise StoppedError on all processes if any was asked to stop. Collective."""
    if reason := asked_to_stop(accelerator):
        raise StoppedError(f"stopped: {reason}. The same command goes on from here")


def by_main(accelerator: Accelerator, work: Callable[[], T]) -> T:
    """Do `work` on the main process and return its result on every process. Collective.

    A UserError of the main process is raised on all of them.
    """
    found: T | None = None
    error: UserError | None = None
    if accelerator.is_main_process:
        try:
            found = work()
        except UserError as refusal:
            error = refusal
    found, error = broadcast_object_list([found, error])
    if error is not None:
        raise error
    return cast(T, found)


def main_first(accelerator: Accelerator, work: Callable[[], T]) -> T:
    """Do `work` on the main process, then on the others; each returns its own result. Collective.

    A UserError of the main process is raised on all of them.
    """
    own: list[T] = []
    by_main(accelerator, lambda: own.append(work()))
    return own[0] if own else work()
