"""Executor for NVIDIA DALI, on a GPU or on a CPU. B samples, H x W pixels, C channels.

Batches are pushed: a ticket feeds file names or pixels and its rows of the plan, once threads have looked at its files.
DALI processes tickets in the order of submission, several at a time where the device allows it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
import torch
from nvidia.dali import Pipeline, __version__
from torch.utils.dlpack import from_dlpack

from configs.errors import InputError
from data_pipes.executors import dali_errors, dali_graph, nvjpeg
from data_pipes.executors.dali_errors import DaliError
from data_pipes.executors.dali_feed import CanvasFeed, FileFeed, plan_inputs
from data_pipes.mixing import Rows
from data_pipes.plan import Plan
from data_pipes.sources.images import READER
from data_pipes.sources.samples import Samples
from data_pipes.spec import DataSpec


class Ticket:
    """A micro-batch whose files are looked at, that DALI is working on, or that is finished."""

    def __init__(self, owner: DaliExecutor, row_B: Rows, plan_B: Plan, checks: Sequence[Future[None]]) -> None:
        """checks: jobs that look at the files before DALI gets them."""
        self.row_B, self.plan_B, self.checks = row_B, plan_B, checks
        self.image_BCHW: torch.Tensor | None = None
        self.failure: Exception | None = None
        self.event: torch.cuda.Event | None = None
        self._owner = owner

    @property
    def done(self) -> bool:
        """Whether there is a batch or an error."""
        return self.image_BCHW is not None or self.failure is not None

    def result(self) -> torch.Tensor:
        """See `Pending.result`. On a GPU, the batch is ready for work on the current stream."""
        image_BCHW = self._owner.finish(self)
        if self.event is not None:  # another stream may have copied it, while collecting for a later ticket
            stream = torch.cuda.current_stream(image_BCHW.device)
            stream.wait_event(self.event)
            image_BCHW.record_stream(stream)
        return image_BCHW


def create(
    samples: Samples, spec: DataSpec, device: torch.device, dtype: torch.dtype, canvas_NHWC: torch.Tensor | None
) -> DaliExecutor:
    """See `build`."""
    return DaliExecutor(samples, spec, device, dtype, None if canvas_NHWC is None else canvas_NHWC.to(device))


class DaliExecutor:
    """A pipeline, fed from encoded files or from a canvas on the device. Not thread-safe."""

    def __init__(
        self,
        samples: Samples,
        spec: DataSpec,
        device: torch.device,
        dtype: torch.dtype,
        canvas_NHWC: torch.Tensor | None = None,
    ) -> None:
        """canvas_NHWC: uint8 on `device`; row i is sample i of the split, squashed from `samples.size_N2`."""
        self._spec, self._device, self._dtype = spec, device, dtype
        self._size_N2 = samples.size_N2
        self._files = FileFeed(samples, spec) if canvas_NHWC is None else None
        self._canvas = None if canvas_NHWC is None else CanvasFeed(samples, canvas_NHWC)
        self._pipeline: Pipeline | None = None
        self._unfed: deque[Ticket] = deque()
        self._scheduled: deque[Ticket] = deque()
        self._closed = False

    def begin(self, row_E: Rows, plan_N: Plan) -> Callable[[slice], Ticket]:
        """See `Executor.begin`."""
        return lambda part: self.submit(row_E[part], plan_N.take(row_E[part]))

    def submit(self, row_B: Rows, plan_B: Plan) -> Ticket:
        """See `Executor.submit`. Blocks only for a batch that is larger than all before it."""
        if self._closed:
            raise RuntimeError("cannot submit to DALI after its shutdown")
        # Outside the image, DALI would read memory that does not belong to it.
        start_B2, stop_B2 = plan_B.crop_N4[:, :2], plan_B.crop_N4[:, :2] + plan_B.crop_N4[:, 2:]
        assert (start_B2 >= 0).all() and (start_B2 < stop_B2).all() and (stop_B2 <= self._size_N2[row_B]).all()
        ticket = Ticket(self, row_B, plan_B, [] if self._files is None else self._files.check(row_B))
        self._unfed.append(ticket)
        self._feed()
        return ticket

    def close(self) -> None:
        """End DALI's threads once their current work is done."""
        self._closed = True
        self._unfed.clear()
        self._scheduled.clear()
        self._pipeline = self._canvas = None
        if self._files is not None:
            self._files.close()

    def finish(self, ticket: Ticket) -> torch.Tensor:
        """Wait for a ticket. InputError: a file cannot be read; it is named."""
        self._collect_until(ticket)
        if isinstance(ticket.failure, DaliError) and self._files is not None:
            ticket.failure = self._retry(ticket, self._files)
        if ticket.failure is not None:
            raise ticket.failure
        assert ticket.image_BCHW is not None
        return ticket.image_BCHW

    def _feed(self, wanted: Ticket | None = None) -> None:
        """Give DALI, in order, the tickets whose files have been looked at; up to `wanted`, wait for that."""
        while self._unfed:
            ticket = self._unfed[0]
            if wanted not in self._unfed and not all(check.done() for check in ticket.checks):
                return
            try:
                for check in ticket.checks:
                    check.result()
                self._schedule(ticket)
            except Exception as error:  # of this ticket alone; after any other exception it is still the next one
                ticket.failure = error
            self._unfed.popleft()

    def _schedule(self, ticket: Ticket) -> None:
        row_B, plan_B = ticket.row_B, ticket.plan_B
        if self._pipeline is None or len(row_B) > self._pipeline.max_batch_size:
            self._collect_all()
            self._pipeline = self._built(len(row_B))
        source = self._canvas or self._files
        assert source is not None
        inputs = source.inputs(row_B, plan_B) | plan_inputs(self._spec.augment, plan_B)
        try:
            for name, value in inputs.items():
                if torch.is_tensor(value):
                    self._pipeline.feed_input(name, value, cuda_stream=self._stream())
                else:
                    self._pipeline.feed_input(name, np.ascontiguousarray(value))
            self._pipeline.schedule_run()
        except BaseException:
            # The inputs already fed would be combined with those of the next batch: a new pipeline is needed.
            self._collect_all()
            self._pipeline = None
            raise
        self._scheduled.append(ticket)

    def _built(self, batch_size: int) -> Pipeline:
        try:
            return dali_graph.build(
                self._spec, self._device_id(), self._dtype, batch_size, canvas=self._canvas is not None
            )
        except (RuntimeError, MemoryError) as error:
            raise dali_errors.failure(error, batch_size, self._device) from error

    def _collect_all(self) -> None:
        while self._scheduled:
            self._collect()

    def _collect_until(self, ticket: Ticket) -> None:
        self._feed(ticket)
        while not ticket.done:
            if not self._scheduled:
                raise RuntimeError("DALI was shut down before this batch was done")
            self._collect()

    def _collect(self) -> None:
        """Move the oldest batch, or the error of it, into its ticket."""
        assert self._pipeline is not None
        ticket, stream = self._scheduled.popleft(), self._stream()
        # DALI raises errors of many types. They concern one batch: the following ones are intact.
        try:
            (output,) = self._pipeline.share_outputs(cuda_stream=stream)
            self._pipeline.release_outputs()
            ticket.image_BCHW = self._as_torch(output.as_tensor(), stream).permute(0, 3, 1, 2)
        except Exception as error:
            ticket.failure = dali_errors.failure(error, len(ticket.row_B), self._device)
        if stream is not None:
            ticket.event = stream.record_event()

    def _as_torch(self, output: Any, stream: torch.cuda.Stream | None) -> torch.Tensor:
        if stream is None:
            image = from_dlpack(output)  # DALI allocates new memory for each batch, so torch may keep this
        else:
            # Copied (0.3 GB of traffic for 256 images of 224 pixels), because DALI would reuse its own memory while
            # kernels that torch has queued still read it.
            from nvidia.dali.plugin.pytorch import feed_ndarray

            kind = torch.float32 if self._dtype == torch.float64 else self._dtype
            image = torch.empty(output.shape(), dtype=kind, device=self._device)
            feed_ndarray(output, image, cuda_stream=stream)
        return image.to(self._dtype)

    def _stream(self) -> torch.cuda.Stream | None:
        return torch.cuda.current_stream(self._device) if self._device.type == "cuda" else None

    def _device_id(self) -> int | None:
        index = torch.empty(0, device=self._device).get_device()  # "cuda" alone means the current one
        return None if index < 0 else index

    def _retry(self, ticket: Ticket, files: FileFeed) -> Exception | None:
        """Find the images that DALI fails for, give it PNG copies of them, and run the batch once more.

        DALI fails for a whole batch and names no file. Stores the batch in the ticket; the error of the first file that
        our own reader cannot read either, or None.
        """
        for i, row in enumerate(ticket.row_B.tolist()):
            place = np.array([i])
            row_1, plan_1 = ticket.row_B[place], ticket.plan_B.take(place)
            if self._alone(row_1, plan_1).failure is None:
                continue
            try:
                files.replace(row)
            except InputError as error:
                return error
            if (still := self._alone(row_1, plan_1).failure) is not None:
                return still
        again = self._alone(ticket.row_B, ticket.plan_B)
        ticket.image_BCHW, ticket.event = again.image_BCHW, again.event
        return again.failure

    def _alone(self, row_B: Rows, plan_B: Plan) -> Ticket:
        ticket = self.submit(row_B, plan_B)
        self._collect_until(ticket)
        return ticket


def decoder(spec: DataSpec) -> str:
    """Version and settings of the decoder that the pixels of a canvas depend on, and what the GPU lacks for them."""
    decoded_by_hardware = spec.dali.hw_decoder_load > 0 and torch.cuda.is_available()
    lacking = nvjpeg.hardware() if decoded_by_hardware else ""
    settings = f"hw {spec.dali.hw_decoder_load:g} fancy {spec.dali.fancy_upsampling:d}"
    return f"reader {READER} dali {__version__} {settings}{lacking}"
