"""The processes of a run: devices and precision, stopping together, work that the main process does for all."""

from __future__ import annotations

import logging
import os
import secrets
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TypeVar, cast

import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.state import AcceleratorState
from accelerate.utils import (
    DistributedDataParallelKwargs,
    InitProcessGroupKwargs,
    broadcast_object_list,
    gather_object,
)
from torch import nn
from torch.optim import Optimizer

from configs import resources, stopping
from configs.errors import UsageError, UserError
from configs.home import cache_folder
from configs.stopping import StoppedError
from models.convolution import make_backward_safe
from models.own import registry
from train.config import TIMEOUT_MINUTES, RunSpec
from train.progress import start_logging
from train.run_folder import pulse
from train.track import tensorboard_run

logger = logging.getLogger(__name__)
T = TypeVar("T")
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
HAS_TF32 = (8, 0)  # compute capability
SEARCH_PAYS = 1000  # steps


def start_run(config: RunSpec) -> Accelerator:
    """Start the command of a run, as `start`. UsageError: a package that it asks for is not there."""
    tensorboard_run.require_installed(wanted=config.track.tensorboard)
    return start(
        config.precision,
        max_minutes=config.max_minutes,
        timeout_minutes=config.timeout_minutes,
        deterministic=config.deterministic,
    )


def start(
    precision: str,
    *,
    max_minutes: float | None = None,
    timeout_minutes: float = TIMEOUT_MINUTES,
    deterministic: bool = False,
) -> Accelerator:
    """Start a command: time limits, arithmetic, processes, log. UsageError as in what it calls.

    What an earlier command of this process has set is undone.
    """
    stopping.limit(max_minutes)
    pulse.limit(timeout_minutes)
    registry.forget()
    choose_algorithms(deterministic=deterministic)
    accelerator = make_accelerator(precision, timeout_minutes)
    start_logging(accelerator.is_main_process)
    if precision == "float32" and computes_in_tf32(accelerator.device):
        logger.info("float32 convolutions use TF32, with 10 bits of mantissa; deterministic true keeps all 23")
    return accelerator


def choose_algorithms(*, deterministic: bool) -> None:
    """Have torch use deterministic algorithms without TF32, or the fastest ones; an earlier command's choice is undone.

    UsageError: it is too late to be deterministic, because this process has used a GPU already.
    """
    if deterministic and WORKSPACE not in os.environ:
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            raise UsageError(
                f"deterministic is true, which needs the variable {WORKSPACE}=:4096:8 before a GPU is used; this "
                "process has used one already. Restart it (in a notebook: the kernel), or set the variable beforehand"
            )
        os.environ[WORKSPACE] = ":4096:8"
    torch.use_deterministic_algorithms(deterministic)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # batches written twice
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = not deterministic
    torch.backends.cuda.matmul.allow_tf32 = False


def search_algorithms(steps: int) -> None:
    """Have cuDNN measure which algorithms are fastest, where a training is long enough for that to pay.

    Shapes are static, so that each network is measured once; on an H200 that takes 1 to 3 s, as long as a hundred steps
    or more. Otherwise cuDNN chooses by rule.
    """
    torch.backends.cudnn.benchmark = steps >= SEARCH_PAYS and not torch.backends.cudnn.deterministic


def computes_in_tf32(device: torch.device) -> bool:
    """Whether float32 convolutions on a device are computed in TF32."""
    nvidia = device.type == "cuda" and torch.version.hip is None
    return nvidia and torch.backends.cudnn.allow_tf32 and torch.cuda.get_device_capability(device) >= HAS_TF32


@contextmanager
def refusing_other_operators() -> Iterator[None]:
    """UsageError in place of torch's error for an operator that has no deterministic implementation."""
    try:
        yield
    except RuntimeError as error:
        name, found, _ = str(error).partition(" does not have a deterministic implementation")
        if not found:
            raise
        raise UsageError(
            f"deterministic is true, and {name}, which the network uses, has no deterministic implementation on this "
            "device: take another network, or deterministic false"
        ) from error


def accelerator_type() -> str | None:
    """Type of the accelerators that networks are trained on; None: on the CPU.

    Apple's have no float64, in which losses and scores are summed.
    """
    found = torch.accelerator.current_accelerator(check_available=True)
    return None if found is None or found.type == "mps" else found.type


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
            cpu=accelerator_type() is None,
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


def prepare(accelerator: Accelerator, model: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, AcceleratedOptimizer]:
    """Wrap the network and its optimizer for all processes.

    torch 2.14 warns of broadcast_buffers, and its successor cannot yet leave a resumed process its own buffers.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        model, prepared = accelerator.prepare(model, optimizer)
    return model, prepared


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


def builders_first(accelerator: Accelerator, work: Callable[[], T]) -> T:
    """Do work that fills the cache on one process of those that share the cache, then on the others. Collective.

    That is the main process where all nodes see one cache folder, and the first process of each node otherwise. It
    takes the cores of those that wait. Each process returns its own result; a UserError of one is raised on all.
    """
    builds = accelerator.is_main_process
    if not _one_cache(accelerator):
        builds = accelerator.is_local_main_process
    own: list[T] = []
    error: UserError | None = None
    if builds:
        try:
            with resources.working_alone():
                own.append(work())
        except UserError as refusal:
            error = refusal
    for found in gather_object([error]):
        if found is not None:
            raise found
    return own[0] if own else work()


def _one_cache(accelerator: Accelerator) -> bool:
    """Whether all processes see the cache folder of the main one: a file that it puts there."""
    if accelerator.num_processes == resources.local_processes():
        return True
    name = by_main(accelerator, lambda: f".seen-{secrets.token_hex(8)}")
    mark = cache_folder() / name
    if accelerator.is_main_process:
        with suppress(OSError):  # nothing can be kept there: every node looks for itself
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
    accelerator.wait_for_everyone()
    seen = all(gather_object([mark.exists()]))
    if accelerator.is_main_process:
        mark.unlink(missing_ok=True)
    return seen
