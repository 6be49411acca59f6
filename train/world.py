"""The processes of a run and how data is dealt out to them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar, cast

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from configs import stopping
from configs.errors import UsageError, UserError
from configs.stopping import StoppedError
from data_pipes.executors import build
from data_pipes.executors.choice import Choice
from data_pipes.loader import Layout, PlanLoader, Views
from data_pipes.sources import source
from data_pipes.sources.samples import Samples
from data_pipes.spec import DataSpec
from models.convolution import make_backward_safe
from train.config import TrainConfig
from train.progress import start_logging

logger = logging.getLogger(__name__)
T = TypeVar("T")
Config = TypeVar("Config", bound=TrainConfig)
EVAL_BATCH = 256


def make_accelerator(precision: str) -> Accelerator:
    """One for CPU and GPU, one process and many; a user's default_config.yaml changes nothing of it.

    UsageError: the device cannot compute in this precision.
    """
    make_backward_safe()
    mixed = precision if precision in ("bf16", "fp16") else "no"
    try:
        made = Accelerator(cpu=not torch.accelerator.is_available(), mixed_precision=mixed, dynamo_backend="no")
    except ValueError as error:
        if mixed == "no":
            raise
        raise UsageError(f"precision is {precision}, which cannot be had here ({error}); take float32") from error
    if precision == "fp16" and made.device.type == "cpu":
        raise UsageError("precision is fp16, which needs a GPU, and the device is a CPU; take bf16 or float32")
    return made


def start(precision: str, max_minutes: float | None = None) -> Accelerator:
    """What every command begins with: processes, log, time limit."""
    stopping.limit(max_minutes)
    accelerator = make_accelerator(precision)
    start_logging(accelerator.is_main_process)
    return accelerator


def asked_to_stop(accelerator: Accelerator) -> str | None:
    """Why all processes should stop, if any was asked to; they must all call this."""
    own = stopping.requested()
    if accelerator.num_processes > 1:
        asked = torch.tensor(float(own is not None), device=accelerator.device)
        if float(accelerator.reduce(asked, reduction="sum")) == 0:  # sync: log steps and ends of epochs
            return None
        return own or "another process was asked to stop"
    return own


def require_going_on(accelerator: Accelerator) -> None:
    """StoppedError on all processes if any was asked to stop."""
    if reason := asked_to_stop(accelerator):
        raise StoppedError(f"stopped: {reason}. The same command goes on from here")


def dtype_of(precision: str) -> torch.dtype:
    """Type of weights and images."""
    return torch.float64 if precision == "float64" else torch.float32


def image_dtype_of(precision: str) -> torch.dtype:
    """Type of training images: half as many bytes where autocast would halve them anyway."""
    return torch.float16 if precision == "fp16" else dtype_of(precision)


def training_layout(accelerator: Accelerator, batch_size: int, micro_batch_size: int | None) -> Layout:
    """The global batch over all processes; without a micro-batch size, one micro-batch each."""
    world = accelerator.num_processes
    micro = micro_batch_size or max(batch_size // world, 1)
    return Layout(batch_size=batch_size, micro_batch_size=micro, world_size=world, rank=accelerator.process_index)


def evaluation_loader(
    accelerator: Accelerator,
    samples: Samples,
    spec: DataSpec,
    dtype: torch.dtype = torch.float32,
    *,
    batch_size: int = EVAL_BATCH,
    alone: bool = False,
) -> PlanLoader:
    """Fixed views of a split over all processes, `batch_size` samples at a time on each; or all for this one alone."""
    world, rank = (1, 0) if alone else (accelerator.num_processes, accelerator.process_index)
    micro = max(min(batch_size, -(-len(samples) // world)), 1)
    layout = Layout(batch_size=micro * world, micro_batch_size=micro, world_size=world, rank=rank)
    return PlanLoader(samples, spec, layout, seed=None, device=accelerator.device, dtype=dtype)


def load_splits(accelerator: Accelerator, spec: DataSpec) -> tuple[Samples, Samples]:
    """The training and the validation split."""
    train, validation = main_first(
        accelerator, lambda: (source.load(spec, "train"), source.load(spec, "validation"))
    )  # the others then find its index
    logger.info("data: %s train, %s validation images", f"{len(train):,}", f"{len(validation):,}")
    return train, validation


def load_test(accelerator: Accelerator, spec: DataSpec) -> Samples | None:
    """The test split, its files checked; None if the data set has none."""
    return main_first(accelerator, lambda: source.load(spec, "test") if "test" in source.splits(spec) else None)


def by_main(accelerator: Accelerator, work: Callable[[], T]) -> T:
    """What some work on the main process gives, on every process; a UserError of it ends all of them alike."""
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
    """Do some work on the main process and then on the others; a UserError on the main one ends all of them alike."""
    own: list[T] = []
    by_main(accelerator, lambda: own.append(work()))
    return own[0] if own else work()


def settled(config: Config, accelerator: Accelerator, samples: Samples) -> tuple[Config, Choice]:
    """The config with the main process's choice of an executor: memory that is free differs from process to process."""
    settled = by_main(accelerator, lambda: build.choose(config.data, samples, accelerator.device))
    feed = settled.feed if settled.name == "dali" else config.data.dali.feed
    data = replace(config.data, executor=settled.name, dali=replace(config.data.dali, feed=feed))
    return replace(config, data=data), settled


def training_loader(config: TrainConfig, accelerator: Accelerator, samples: Samples, layout: Layout) -> PlanLoader:
    """Random views of the training split, as a config that is settled shows them."""
    return PlanLoader(
        samples,
        config.data,
        layout,
        seed=config.seed,
        device=accelerator.device,
        dtype=dtype_of(config.precision),
        image_dtype=image_dtype_of(config.precision),
        views=Views(seed=config.plan_seed, count=config.views, first=config.first_epoch),
    )
