"""Images decoded whole by DALI for a canvas. R images, H x W pixels, C channels."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import torch

from configs.errors import UsageError
from data_pipes import plan
from data_pipes.executors.dali import DaliExecutor, Ticket
from data_pipes.executors.dali_errors import DaliMemoryError
from data_pipes.mixing import Rows
from data_pipes.plan import SizeHW
from data_pipes.sources.samples import Samples
from data_pipes.spec import AugmentSpec, DataSpec

CANVAS_BATCH = 64  # images decoded at a time


class Squash:
    """Decodes blocks of rows of a split: whole images, resized with antialias. The pipeline is built once for all."""

    def __init__(self, samples: Samples, spec: DataSpec, device: torch.device, size_HW: SizeHW) -> None:
        self._samples, self._spec, self._size_HW = samples, spec, size_HW
        plain = replace(spec, image_size=size_HW, augment=AugmentSpec())
        self._worker = DaliExecutor(samples, plain, device, torch.uint8)

    def __call__(self, row_R: Rows) -> torch.Tensor:
        """These images: uint8 R x H x W x C in host memory. InputError names a bad file."""
        canvas_RHWC = torch.empty((len(row_R), *self._size_HW, self._spec.channels), dtype=torch.uint8)
        tickets: deque[tuple[slice, Ticket]] = deque()
        for start in range(0, len(row_R), CANVAS_BATCH):
            row_B = row_R[start : start + CANVAS_BATCH]
            whole_B = plan.training(0, 0, AugmentSpec(), self._samples.size_N2[row_B], self._size_HW)
            tickets.append((slice(start, start + len(row_B)), self._worker.submit(row_B, whole_B)))
            if len(tickets) > self._spec.prefetch:
                _collect(tickets, canvas_RHWC)
        while tickets:
            _collect(tickets, canvas_RHWC)
        return canvas_RHWC

    def close(self) -> None:
        """End DALI's threads."""
        self._worker.close()


def _collect(tickets: deque[tuple[slice, Ticket]], canvas_RHWC: torch.Tensor) -> None:
    place, ticket = tickets.popleft()
    try:
        image_BCHW = ticket.result()
    except DaliMemoryError as error:
        raise UsageError(f"images cannot be decoded to be kept; data.dali.feed files keeps none. {error}") from error
    canvas_RHWC[place] = image_BCHW.permute(0, 2, 3, 1).cpu()


def squash(samples: Samples, spec: DataSpec, device: torch.device, size_HW: SizeHW, row_R: Rows) -> torch.Tensor:
    """These files once, as `Squash` does."""
    worker = Squash(samples, spec, device, size_HW)
    try:
        return worker(row_R)
    finally:
        worker.close()
