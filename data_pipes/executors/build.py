"""The interface of executors, and how they are chosen and built. B rows of a micro-batch, C channels."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Protocol, cast

import torch

from data_pipes.executors import canvas, choice, devices
from data_pipes.executors.choice import Choice
from data_pipes.mixing import Rows
from data_pipes.plan import Plan, SizeHW
from data_pipes.sources.images import FileImages
from data_pipes.sources.samples import Samples
from data_pipes.spec import DataSpec


class Pending(Protocol):
    """A micro-batch in work."""

    def result(self) -> torch.Tensor:
        """Wait for B x C x H x W on the device, channels last in memory: cropped, warped, erased and normalised.

        `pixels.finish` does the rest. InputError: an image cannot be read; it names the file.
        """
        ...


Start = Callable[[slice], Pending]
"""Starts a micro-batch: a part of the rows that `Executor.begin` was given."""


class Executor(Protocol):
    """Renders rows of a split by their plan."""

    def begin(self, row_E: Rows, plan_N: Plan) -> Start:
        """Prepare for the micro-batches of an epoch, E rows of a view of the split; nothing is rendered yet."""
        ...

    def submit(self, row_B: Rows, plan_B: Plan) -> Pending:
        """Start a micro-batch. Results may be taken in any order; the pixels of a row do not depend on its batch."""
        ...

    def close(self) -> None:
        """Release threads and memory."""
        ...


class _Module(Protocol):
    """What the module of each executor defines."""

    def create(
        self,
        samples: Samples,
        spec: DataSpec,
        device: torch.device,
        dtype: torch.dtype,
        canvas_NHWC: torch.Tensor | None,
    ) -> Executor:
        """The executor. canvas_NHWC: the canvas of the samples on the device; None where `Choice.feed` is files."""
        ...

    def decoder(self, spec: DataSpec) -> str:
        """Everything that decoded pixels depend on besides the files."""
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
    """What a sample's pixels depend on besides its file and its plan."""
    return {"executor": choice.pixels(chosen, spec), "decoder": _module(chosen).decoder(spec)}


def build(
    chosen: Choice,
    spec: DataSpec,
    samples: Samples,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    *,
    rows: Rows | None = None,
) -> Executor:
    """The chosen executor for a split on a device. What it keeps in memory is decoded here.

    rows: build the whole split's executor for these samples only, numbered from 0.
    """
    size_HW = choice.canvas_size(spec, samples.common_size)
    part = samples if rows is None else samples.select(rows)
    kept = _canvas(spec, part, device, size_HW) if chosen.feed == "canvas" else None
    return _module(chosen).create(part, spec, device, dtype, kept)


def _module(chosen: Choice) -> _Module:
    """The module of an executor, which has its name. Importing that of DALI takes half a second."""
    return cast(_Module, import_module(f"data_pipes.executors.{chosen.name}"))


def _canvas(spec: DataSpec, samples: Samples, device: torch.device, size_HW: SizeHW) -> torch.Tensor:
    on_gpu = device.type == "cuda" and choice.dali_installed() and isinstance(samples.images, FileImages)
    if not on_gpu:
        return canvas.load(spec, samples, size_HW, device=device)
    from data_pipes.executors.dali import decoder
    from data_pipes.executors.dali_squash import Squash

    decode = Squash(samples, spec, device, size_HW)
    try:
        return canvas.load(spec, samples, size_HW, decode, decoder(spec), device)
    finally:
        decode.close()
