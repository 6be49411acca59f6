"""The plan carried out by OpenCV and torch on the host, one image per thread at a time.

Decode, crop, antialiased resize, one warp, erase. On photographs of 500 x 470 pixels the result is the torchvision
reference's to one level, and decoding takes half of the time.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from data_pipes.geometry import Boxes
from data_pipes.mixing import Rows
from data_pipes.plan import Plan, SizeHW
from data_pipes.samples import Samples
from data_pipes.spec import DataSpec

Pixels = npt.NDArray[np.uint8]
# Decode at a reduced scale only where twice the output's resolution remains: the shift by rounding the crop box to
# reduced pixels then stays under a quarter of an output pixel.
OVERSAMPLING = 2


@dataclass(frozen=True, slots=True)
class HostBatch:
    """A micro-batch whose images are being written by the pool."""

    batch_BHWC: torch.Tensor
    jobs: list[Future[None]]

    def result(self) -> torch.Tensor:
        """Wait for the last image; raises the first error."""
        for job in self.jobs:
            job.result()
        return self.batch_BHWC


class HostExecutor:
    """Threads that share one process; every image is independent of its batch."""

    def __init__(self, samples: Samples, spec: DataSpec, *, pin: bool) -> None:
        cv2.setNumThreads(1)  # the pool is the parallelism
        self._samples = samples
        self._channels = spec.channels
        self._output_HW = spec.image_size
        self._fill = np.array(spec.fill_colour, dtype=np.uint8)
        self._pin = pin
        self._pool = ThreadPoolExecutor(spec.thread_count, thread_name_prefix="host")

    def submit(self, row_B: Rows, plan_B: Plan) -> HostBatch:
        """See `Executor.submit`. Memory is page-locked when the batch goes to a GPU."""
        batch = torch.empty((len(row_B), *self._output_HW, self._channels), dtype=torch.uint8, pin_memory=self._pin)
        jobs = [self._pool.submit(self._render, batch, i, int(row), plan_B) for i, row in enumerate(row_B)]
        return HostBatch(batch, jobs)

    def close(self) -> None:
        """Drop what is queued and end the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _render(self, batch_BHWC: torch.Tensor, position: int, row: int, plan_B: Plan) -> None:
        y, x, h, w = (int(v) for v in plan_B.crop_N4[position])
        reduce = reduction((h, w), self._output_HW)
        image = self._samples.read(row, channels=self._channels, reduce=reduce)
        crop = cut(image, (y, x, h, w), tuple(self._samples.size_N2[row]))
        view = warp(resize(crop, self._output_HW), plan_B.matrix_N23[position])
        out = batch_BHWC[position].numpy()
        out[...] = view
        erase(out, plan_B.erase_N4[position], self._fill)


def reduction(crop_HW: SizeHW, output_HW: SizeHW) -> int:
    """The largest of 8, 4, 2, 1 by which a decoder may shrink the image without hurting this crop."""
    shrink = min(crop_HW[0] / output_HW[0], crop_HW[1] / output_HW[1])
    return next((r for r in (8, 4, 2) if shrink >= OVERSAMPLING * r), 1)


def cut(image_HWC: Pixels, box: tuple[int, int, int, int], size_HW: SizeHW) -> Pixels:
    """The crop box, in pixels of the full image of `size_HW`, out of an image that may have been decoded smaller."""
    scale_y, scale_x = image_HWC.shape[0] / size_HW[0], image_HWC.shape[1] / size_HW[1]
    y, x, h, w = box
    top, left = round(y * scale_y), round(x * scale_x)
    return image_HWC[top : top + max(1, round(h * scale_y)), left : left + max(1, round(w * scale_x))]


def resize(image_HWC: Pixels, size_HW: SizeHW) -> Pixels:
    """Bilinear with antialias, as torchvision's (it is the same kernel)."""
    if image_HWC.shape[:2] == size_HW:
        return image_HWC
    image = torch.from_numpy(np.ascontiguousarray(image_HWC)).permute(2, 0, 1)[None]
    resized = F.interpolate(image, size_HW, mode="bilinear", antialias=True, align_corners=False)
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


def warp(image_HWC: Pixels, matrix_23: npt.NDArray[np.float64]) -> Pixels:
    """Destination-to-source affine, bilinear, black outside."""
    if np.array_equal(matrix_23, np.eye(2, 3)):
        return image_HWC
    centred = matrix_23.copy()
    centred[:, 2] += 0.5 * (matrix_23[:, 0] + matrix_23[:, 1]) - 0.5  # OpenCV's origin is the first pixel's centre
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    height, width, channels = image_HWC.shape
    warped = cv2.warpAffine(image_HWC, centred, (width, height), flags=flags, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(warped, dtype=np.uint8).reshape(height, width, channels)


def erase(image_HWC: Pixels, box: Boxes, fill_C: Pixels) -> None:
    """Fill (y, x, h, w) in place."""
    y, x, h, w = box
    image_HWC[y : y + h, x : x + w] = fill_C
