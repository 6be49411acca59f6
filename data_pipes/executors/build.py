"""Who carries a plan out: the contract, and how the executors are built. B rows of a micro-batch, C channels."""

from __future__ import annotations

from typing import Protocol

import torch

from data_pipes.executors import canvas, choice, devices
from data_pipes.executors.choice import Choice
from data_pipes.executors.host import HostExecutor
from data_pipes.executors.resident import ResidentExecutor
from data_pipes.mixing import Rows
from data_pipes.plan import Plan, SizeHW
from data_pipes.sources.images import FileImages
from data_pipes.sources.samples import Samples
from data_pipes.spec import DataSpec


class Pending(Protocol):
    """A micro-batch in the making."""

    def result(self) -> torch.Tensor:
        """Wait for B x C x H x W on the device, channels last in memory: cropped, warped, erased and normalised.

        Mixing is left to the loader. Raises what went wrong, naming the file.
        """
        ...


class Executor(Protocol):
    """Turns rows of a split and their plan into pixels."""

    def submit(self, row_B: Rows, plan_B: Plan) -> Pending:
        """Start on a micro-batch. Results come in any order; each is the same whatever else is in its batch."""
        ...

    def close(self) -> None:
        """Release threads and memory."""
        ...


def choose(spec: DataSpec, samples: Samples, device: torch.device) -> Choice:
    """Which executor a split gets on a device, and why."""
    return choice.choose(spec, describe(samples), devices.describe(device))


def describe(samples: Samples) -> choice.Images:
    """What the choice depends on in a split."""
    return choice.Images(
        count=len(samples),
        largest_side=int(samples.size_N2.max(initial=0)),
        common_size=samples.common_size,
        encoded=isinstance(samples.images, FileImages),
    )


def fingerprint(spec: DataSpec, chosen: Choice) -> dict[str, str]:
    """What a sample's pixels depend on beside its file and its plan."""
    if chosen.name != "dali":
        return {"executor": choice.pixels(chosen, spec), "decoder": canvas.DECODER}
    from data_pipes.executors.dali import decoder

    return {"executor": choice.pixels(chosen, spec), "decoder": decoder(spec)}


def build(
    chosen: Choice,
    spec: DataSpec,
    samples: Samples,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    *,
    rows: Rows | None = None,
) -> Executor:
    """The chosen executor for one split on one device; what is kept in memory is decoded here.

    With `rows`, it is the whole split's executor, but for these samples alone, counted anew from 0.
    """
    size_HW = choice.canvas_size(spec, samples.common_size)
    part = samples if rows is None else samples.select(rows)
    if chosen.name == "dali":
        from data_pipes.executors.dali import DaliExecutor  # an import of half a second that few need

        kept = _canvas(spec, part, device, size_HW).to(device) if chosen.feed == "canvas" else None
        return DaliExecutor(part, spec, device, dtype, kept)
    if chosen.name == "host":
        return HostExecutor(part, spec, device, dtype)
    kept = _canvas(spec, part, device, size_HW)
    if device.type == "cpu":
        return HostExecutor(canvas.resident(part, kept), spec, device, dtype)
    return ResidentExecutor(part, spec, kept.to(device), dtype)


def _canvas(spec: DataSpec, samples: Samples, device: torch.device, size_HW: SizeHW) -> torch.Tensor:
    on_gpu = device.type == "cuda" and choice.dali_installed() and isinstance(samples.images, FileImages)
    if not on_gpu:
        return canvas.load(spec, samples, size_HW=size_HW)
    from data_pipes.executors.dali import decoder, squash

    def decode(row_R: Rows) -> torch.Tensor:
        return squash(samples, spec, device, size_HW, row_R)

    return canvas.load(spec, samples, decode, decoder(spec), size_HW=size_HW)
