"""Who carries a plan out: the contract, and the choice. B rows of a micro-batch, output H x W, C channels."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from data_pipes.host import HostExecutor
from data_pipes.mixing import Rows
from data_pipes.plan import Plan
from data_pipes.resident import ResidentExecutor
from data_pipes.samples import Samples
from data_pipes.spec import DataSpec

RAW_SIDE = 64  # images this small are kept in memory


class Pending(Protocol):
    """A micro-batch in the making."""

    def result(self) -> torch.Tensor:
        """Wait for uint8 B x H x W x C: cropped, warped and erased. Raises what went wrong, naming the file."""
        ...


class Executor(Protocol):
    """Turns rows of a split and their plan into pixels."""

    def submit(self, row_B: Rows, plan_B: Plan) -> Pending:
        """Start on a micro-batch. Results come back in any order; each is the same whatever else is in its batch."""
        ...

    def close(self) -> None:
        """Release threads and memory."""
        ...


def choose(spec: DataSpec, samples: Samples) -> tuple[str, str]:
    """The executor's name and the reason, in words."""
    if spec.executor != "auto":
        return spec.executor, "data.executor asks for it"
    side = int(samples.size_N2.max(initial=0))
    if side <= RAW_SIDE:
        return "resident", f"images of at most {side} pixels are small enough to keep"
    return "host", f"images of up to {side} pixels are decoded as they come"


def build(spec: DataSpec, samples: Samples, device: torch.device, rows: Rows | None = None) -> Executor:
    """The executor for one split on one device. `rows` (sorted): all that it will be asked for."""
    if choose(spec, samples)[0] == "resident":
        return ResidentExecutor(samples, spec, device, np.arange(len(samples)) if rows is None else rows)
    return HostExecutor(samples, spec, pin=device.type == "cuda")
