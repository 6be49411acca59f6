"""Executor on the host: OpenCV and torch in threads. B samples, P of them in one thread, H x W pixels, C channels.

Images that are only cropped, resized and flipped agree with torchvision to one level. For images that are also warped,
photographs are decoded at a reduced scale that leaves about the output's resolution.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from data_pipes.executors import canvas
from data_pipes.executors.render import Pixels, Rendering, render, renderings
from data_pipes.mixing import Rows
from data_pipes.pixels import Normaliser
from data_pipes.plan import Plan
from data_pipes.sources.images import WAITING_THREADS, FileImages
from data_pipes.sources.samples import Samples
from data_pipes.spec import DataSpec

IMAGES_PER_JOB = 8
FREE = 2  # references to an array that is not in use: the list's and that of getrefcount's argument


@dataclass(frozen=True, slots=True)
class HostBatch:
    """A micro-batch in work: normalised floats on a CPU, or levels that another device normalises."""

    batch_BHWC: torch.Tensor
    jobs: Sequence[Future[None]]
    normaliser: Normaliser

    def result(self) -> torch.Tensor:
        """See `Pending.result`."""
        for job in self.jobs:
            job.result()
        if self.batch_BHWC.dtype == torch.uint8:
            return self.normaliser(self.batch_BHWC.to(self.normaliser.device, non_blocking=True))
        return self.batch_BHWC.permute(0, 3, 1, 2)


class Buffers:
    """Memory for batches, reused once no tensor refers to it.

    New memory costs a page fault every 4 kB: on photographs, a third of the time that warping takes.
    """

    def __init__(self) -> None:
        self._arrays: list[npt.NDArray[np.uint8]] = []

    def take(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """An uninitialised tensor. All tensors that share its memory refer to one array, which counts them."""
        needed = math.prod(shape) * dtype.itemsize
        for place in range(len(self._arrays)):
            if sys.getrefcount(self._arrays[place]) == FREE and self._arrays[place].nbytes >= needed:
                break
        else:
            place = len(self._arrays)
            self._arrays.append(np.empty(needed, dtype=np.uint8))
        return torch.from_numpy(self._arrays[place])[:needed].view(dtype).view(shape)


def create(
    samples: Samples, spec: DataSpec, device: torch.device, dtype: torch.dtype, canvas_NHWC: torch.Tensor | None
) -> HostExecutor:
    """See `build`. It decodes every image when it is rendered."""
    assert canvas_NHWC is None
    return HostExecutor(samples, spec, device, dtype)


def decoder(_: DataSpec) -> str:
    """See `build`."""
    return canvas.DECODER


class HostExecutor:
    """Renders images in threads of this process, each independently of its batch."""

    def __init__(self, samples: Samples, spec: DataSpec, device: torch.device, dtype: torch.dtype) -> None:
        cv2.setNumThreads(1)  # the pool is the parallelism
        self._samples: Samples | None = samples
        self._channels = spec.channels
        self._output_HW = spec.image_size
        self._fill_C = np.array(spec.fill_colour, dtype=np.uint8)
        self._normaliser = Normaliser(spec, device, dtype)
        self._buffers = Buffers()
        self._pool = ThreadPoolExecutor(spec.thread_count, thread_name_prefix="host")
        self._readers = ThreadPoolExecutor(WAITING_THREADS, thread_name_prefix="files")

    def begin(self, row_E: Rows, plan_N: Plan) -> Callable[[slice], HostBatch]:
        """See `Executor.begin`."""
        return lambda part: self.submit(row_E[part], plan_N.take(row_E[part]))

    def submit(self, row_B: Rows, plan_B: Plan) -> HostBatch:
        """See `Executor.submit`. To a GPU go levels in page-locked memory: a quarter of the bytes."""
        shape = (len(row_B), *self._output_HW, self._channels)
        if self._normaliser.device.type == "cpu":
            batch_BHWC = self._buffers.take(shape, self._normaliser.dtype)
        else:
            pin = self._normaliser.device.type == "cuda"
            batch_BHWC = torch.empty(shape, dtype=torch.uint8, pin_memory=pin)
        samples = self._samples
        if samples is None:
            raise RuntimeError("no images are taken after the shutdown of an executor")
        encoded = isinstance(samples.images, FileImages)
        rendering_B = renderings(plan_B, samples.size_N2[row_B], self._output_HW, encoded=encoded)
        parts = [slice(start, start + IMAGES_PER_JOB) for start in range(0, len(row_B), IMAGES_PER_JOB)]
        batch = batch_BHWC.numpy()
        jobs = [self._start(samples, batch[part], row_B[part].tolist(), rendering_B[part]) for part in parts]
        return HostBatch(batch_BHWC, jobs, self._normaliser)

    def close(self) -> None:
        """Drop queued work, end the threads and release the samples, which may be a canvas in memory."""
        for pool in (self._readers, self._pool):  # in this order: rendering waits for what is read
            pool.shutdown(wait=True, cancel_futures=True)
        self._samples = None

    def _start(
        self, samples: Samples, out_PHWC: npt.NDArray[Any], row_P: list[int], rendering_P: Sequence[Rendering]
    ) -> Future[None]:
        """Read files in threads of their own, so that no core is idle while a network file system is slow to answer."""
        files = samples.images
        if not isinstance(files, FileImages):
            return self._pool.submit(self._render, out_PHWC, rendering_P, self._kept(samples, row_P, rendering_P))
        stored_P = samples.row_N[row_P].tolist()
        data_P = self._readers.submit(lambda: [files.content(row) for row in stored_P])
        return self._pool.submit(self._render, out_PHWC, rendering_P, self._read(files, stored_P, rendering_P, data_P))

    def _kept(self, samples: Samples, row_P: list[int], rendering_P: Sequence[Rendering]) -> Iterator[Pixels]:
        """Images that are in memory."""
        for row, rendering in zip(row_P, rendering_P, strict=True):
            yield samples.read(row, channels=self._channels, reduce=rendering.reduce)

    def _read(
        self, files: FileImages, stored_P: list[int], rendering_P: Sequence[Rendering], data_P: Future[list[bytes]]
    ) -> Iterator[Pixels]:
        """Images of files, decoded."""
        for row, data, rendering in zip(stored_P, data_P.result(), rendering_P, strict=True):
            yield files.decoded(row, data, channels=self._channels, reduce=rendering.reduce)

    def _render(self, out_PHWC: npt.NDArray[Any], rendering_P: Sequence[Rendering], image_P: Iterator[Pixels]) -> None:
        for out_HWC, image_HWC, rendering in zip(out_PHWC, image_P, rendering_P, strict=True):
            level_HWC = render(image_HWC, rendering, self._output_HW)
            levels = out_HWC.dtype == np.uint8
            if levels:
                out_HWC[...] = level_HWC
            else:
                self._normaliser.write(level_HWC, out_HWC)
            y, x, h, w = rendering.erase
            if h:
                out_HWC[y : y + h, x : x + w] = self._fill_C if levels else self._normaliser.fill_C
