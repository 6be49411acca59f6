"""The processes of a run and how data is dealt out to them."""

from __future__ import annotations

import torch
from accelerate import Accelerator

from data_pipes.loader import Layout, PlanLoader
from data_pipes.samples import Samples
from data_pipes.spec import DataSpec

EVAL_BATCH = 256


def make_accelerator(precision: str) -> Accelerator:
    """One for CPU and GPU, one process and many; a user's default_config.yaml changes nothing of it."""
    mixed = precision if precision in ("bf16", "fp16") else "no"
    return Accelerator(cpu=not torch.accelerator.is_available(), mixed_precision=mixed, dynamo_backend="no")


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
