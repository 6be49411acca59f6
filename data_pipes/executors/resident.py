"""Executor for decoded images in device memory: torch renders a whole micro-batch as one warp of the canvas.

For GPUs; on a CPU, `host` renders the same canvas one image at a time. The crop, the canvas' squash and the plan's
affine map make up one coordinate map. B samples, output H x W pixels, C channels.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from data_pipes import pixels
from data_pipes.executors import canvas
from data_pipes.executors.host import HostExecutor
from data_pipes.mixing import Rows
from data_pipes.plan import Plan
from data_pipes.sources.samples import Samples
from data_pipes.spec import DataSpec
from data_pipes.transfer import to_device


def create(
    samples: Samples, spec: DataSpec, device: torch.device, dtype: torch.dtype, canvas_NHWC: torch.Tensor | None
) -> ResidentExecutor | HostExecutor:
    """See `build`. On a CPU, the host renders the canvas."""
    assert canvas_NHWC is not None
    if device.type == "cpu":
        return HostExecutor(canvas.resident(samples, canvas_NHWC), spec, device, dtype)
    return ResidentExecutor(samples, spec, canvas_NHWC.to(device), dtype)


def decoder(_: DataSpec) -> str:
    """See `build`."""
    return canvas.DECODER


@dataclass(frozen=True, slots=True)
class View:
    """Rows of a split and their plan on the device: of an epoch, or of a micro-batch."""

    index_B: torch.Tensor
    matrix_B23: torch.Tensor
    to_canvas_B22: torch.Tensor
    erase_B4: torch.Tensor | None
    """None: nothing is erased in the whole epoch."""

    def part(self, rows: slice) -> View:
        """Return some of the rows."""
        erase_B4 = None if self.erase_B4 is None else self.erase_B4[rows]
        return View(self.index_B[rows], self.matrix_B23[rows], self.to_canvas_B22[rows], erase_B4)


class ResidentExecutor:
    """Keeps the whole split as uint8 on the device."""

    def __init__(self, samples: Samples, spec: DataSpec, canvas_NHWC: torch.Tensor, dtype: torch.dtype) -> None:
        """canvas_NHWC: the split's images, squashed to one size, on the device."""
        device = canvas_NHWC.device
        self._canvas_NHWC = canvas_NHWC
        self._size_N2 = samples.size_N2
        self._output_HW = spec.image_size
        self._fill_C = torch.tensor(spec.fill_colour, dtype=torch.uint8, device=device)
        self._normaliser = pixels.Normaliser(spec, device, dtype)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="resident")

    def begin(self, row_E: Rows, plan_N: Plan) -> Callable[[slice], Future[torch.Tensor]]:
        """See `Executor.begin`. The plan goes to the device once, and micro-batches are parts of it there."""
        view = self._view(row_E, plan_N.take(row_E))
        return lambda part: self._pool.submit(self._render, view.part(part))

    def submit(self, row_B: Rows, plan_B: Plan) -> Future[torch.Tensor]:
        """See `Executor.submit`."""
        return self._pool.submit(self._render, self._view(row_B, plan_B))

    def close(self) -> None:
        """Drop queued work and the canvas."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._canvas_NHWC = self._canvas_NHWC.new_empty(0)  # an empty part of it would keep all of its memory

    def _view(self, row_E: Rows, plan_E: Plan) -> View:
        """Copy a plan to the device."""
        device, erases = self._canvas_NHWC.device, bool(plan_E.erase_N4[:, 2].any())
        return View(
            to_device(row_E, device),
            to_device(plan_E.matrix_N23.astype(np.float32), device),
            to_device(self._to_canvas(row_E, plan_E).astype(np.float32), device),
            to_device(plan_E.erase_N4, device) if erases else None,
        )

    @torch.no_grad()
    def _render(self, view: View) -> torch.Tensor:
        source_BCHW = self._canvas_NHWC[view.index_B].permute(0, 3, 1, 2).float()
        level_BHWC = warp(source_BCHW, view.matrix_B23, view.to_canvas_B22, self._output_HW)
        if view.erase_B4 is not None:
            level_BHWC = pixels.erase(level_BHWC, view.erase_B4, self._fill_C)
        return self._normaliser(level_BHWC)

    def _to_canvas(self, row_B: Rows, plan_B: Plan) -> npt.NDArray[np.float64]:
        """Map from pixels of the resized crop to [-1, 1] over the canvas: (offset, slope) for x, then for y."""
        y, x, h, w = plan_B.crop_N4.T.astype(np.float64)
        height, width = self._size_N2[row_B].T
        in_x = np.stack([2 * x / width - 1, 2 * w / (width * self._output_HW[1])], axis=1)
        in_y = np.stack([2 * y / height - 1, 2 * h / (height * self._output_HW[0])], axis=1)
        return np.stack([in_x, in_y], axis=1)


def warp(
    source_BCHW: torch.Tensor, matrix_B23: torch.Tensor, to_canvas_B22: torch.Tensor, output_HW: tuple[int, int]
) -> torch.Tensor:
    """Warped images, uint8 B x H x W x C. Apart from grid_sample all is elementwise: no pixel depends on its batch."""
    device = source_BCHW.device
    x = torch.arange(output_HW[1], device=device, dtype=torch.float32)[None, None, :] + 0.5
    y = torch.arange(output_HW[0], device=device, dtype=torch.float32)[None, :, None] + 0.5
    m = matrix_B23[:, :, :, None, None]
    u = m[:, 0, 0] * x + m[:, 0, 1] * y + m[:, 0, 2]
    v = m[:, 1, 0] * x + m[:, 1, 1] * y + m[:, 1, 2]
    s = to_canvas_B22[:, :, :, None, None]
    grid_BHW2 = torch.stack([s[:, 0, 0] + s[:, 0, 1] * u, s[:, 1, 0] + s[:, 1, 1] * v], dim=-1)
    sampled = F.grid_sample(source_BCHW, grid_BHW2, mode="bilinear", padding_mode="border", align_corners=False)
    inside = _coverage(u, output_HW[1]) * _coverage(
        v, output_HW[0]
    )  # black outside the crop, blended bilinearly at its edge
    return (sampled * inside[:, None]).round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def _coverage(coordinate: torch.Tensor, side: int) -> torch.Tensor:
    return torch.minimum(coordinate, side - coordinate).add_(0.5).clamp_(0, 1)
