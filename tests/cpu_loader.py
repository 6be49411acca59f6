"""Loaders on the CPU, with the executor that their config gets there."""

from __future__ import annotations

from typing import Any

import torch

from data_pipes.executors import build
from data_pipes.loader import Layout, PlanLoader
from data_pipes.sources.samples import Samples
from data_pipes.spec import DataSpec

CPU = torch.device("cpu")


def cpu_loader(
    samples: Samples, spec: DataSpec, layout: Layout, *, dtype: torch.dtype = torch.float32, **changes: Any
) -> PlanLoader:
    """A loader of images, targets and weights of one type."""
    executor = build.build(build.choose(spec, samples, CPU), spec, samples, CPU, dtype)
    return PlanLoader(samples, spec, layout, executor, device=CPU, dtype=dtype, **changes)
