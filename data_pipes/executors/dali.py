"""The plan carried out by NVIDIA DALI, on a GPU or on a CPU. B samples, H x W pixels, C channels.

Batches are pushed: a ticket feeds its names or pixels and its share of the plan, and DALI works through the tickets in
the order of their submission, several at a time where the device allows it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from nvidia.dali import Pipeline, __version__
from torch.utils.dlpack import from_dlpack

from configs.errors import InputError
from data_pipes import plan
from data_pipes.executors import dali_graph
from data_pipes.executors.dali_feed import CanvasFeed, FileFeed, view_inputs
from data_pipes.mixing import Rows
from data_pipes.plan import Plan, SizeHW
from data_pipes.sources.images import READER
from data_pipes.sources.samples import Samples
from data_pipes.spec import AugmentSpec, DataSpec

BLOCK = 64  # images decoded at a time for a canvas


class DaliError(RuntimeError):
    """DALI failed, and no file is to blame."""


class Ticket:
    """A micro-batch that DALI is working on, or that lies ready."""

    def __init__(self, owner: DaliExecutor, row_B: Rows, plan_B: Plan) -> None:
        self.row_B, self.plan_B = row_B, plan_B
        self.image_BCHW: torch.Tensor | None = None
        self.failure: Exception | None = None
        self.event: torch.cuda.Event | None = None
        self._owner = owner

    @property
    def done(self) -> bool:
        """Whether there is a batch or an error."""
        return self.image_BCHW is not None or self.failure is not None

    def result(self) -> torch.Tensor:
        """See `Pending.result`. On a GPU: ready in the order of the stream that is current."""
        image_BCHW = self._owner.finish(self)
        if self.event is not None:  # it may have been copied on another stream, on the way to a later ticket
            stream = torch.cuda.current_stream(image_BCHW.device)
            stream.wait_event(self.event)
            image_BCHW.record_stream(stream)
        return image_BCHW


class DaliExecutor:
    """One pipeline. Fed from encoded files, or from a canvas on the device; to be used by one thread."""

    def __init__(
        self,
        samples: Samples,
        spec: DataSpec,
        device: torch.device,
        dtype: torch.dtype,
        canvas_NHWC: torch.Tensor | None = None,
    ) -> None:
        """`canvas_NHWC`: uint8 on `device`, row i is sample i of the split, squashed from `samples.size_N2`."""
        self._spec, self._device, self._dtype = spec, device, dtype
        self._size_N2 = samples.size_N2
        self._files = FileFeed(samples, spec) if canvas_NHWC is None else None
        self._canvas = None if canvas_NHWC is None else CanvasFeed(samples, canvas_NHWC)
        self._pipeline: Pipeline | None = None
        self._scheduled: deque[Ticket] = deque()
        self._closed = False

    def submit(self, row_B: Rows, plan_B: Plan) -> Ticket:
        """See `Executor.submit`. Waits only when a batch is larger than every one before it."""
        if self._closed:
            raise RuntimeError("cannot submit to DALI after its shutdown")
        # DALI would read memory that is not its own.
        start_B2, stop_B2 = plan_B.crop_N4[:, :2], plan_B.crop_N4[:, :2] + plan_B.crop_N4[:, 2:]
        assert (start_B2 >= 0).all() and (start_B2 < stop_B2).all() and (stop_B2 <= self._size_N2[row_B]).all()
        ticket = Ticket(self, row_B, plan_B)
        try:
            if self._files is not None:
                self._files.check(row_B)
        except InputError as error:
            ticket.failure = error
        else:
            self._schedule(ticket)
        return ticket

    def close(self) -> None:
        """End DALI's threads, once they are through with what they have begun."""
        self._closed = True
        self._scheduled.clear()
        self._pipeline = self._canvas = None

    def finish(self, ticket: Ticket) -> torch.Tensor:
        """Wait for a ticket. Raises InputError naming the file when that is what went wrong."""
        self._collect_until(ticket)
        if isinstance(ticket.failure, DaliError) and self._files is not None:
            ticket.failure = self._mend(ticket, self._files)
        if ticket.failure is not None:
            raise ticket.failure
        assert ticket.image_BCHW is not None
        return ticket.image_BCHW

    def _schedule(self, ticket: Ticket) -> None:
        row_B, plan_B = ticket.row_B, ticket.plan_B
        if self._pipeline is None or len(row_B) > self._pipeline.max_batch_size:
            self._collect_all()
            self._pipeline = dali_graph.build(
                self._spec, self._device_id(), self._dtype, len(row_B), canvas=self._canvas is not None
            )
        source = self._canvas or self._files
        assert source is not None
        inputs = source.inputs(row_B, plan_B) | view_inputs(self._spec.augment, plan_B)
        try:
            for name, value in inputs.items():
                if torch.is_tensor(value):
                    self._pipeline.feed_input(name, value, cuda_stream=self._stream())
                else:
                    self._pipeline.feed_input(name, np.ascontiguousarray(value))
            self._pipeline.schedule_run()
        except BaseException:
            # What was fed of this batch would meet the rest of the next one: begin anew with another pipeline.
            self._collect_all()
            self._pipeline = None
            raise
        self._scheduled.append(ticket)

    def _collect_all(self) -> None:
        while self._scheduled:
            self._collect()

    def _collect_until(self, ticket: Ticket) -> None:
        while not ticket.done:
            if not self._scheduled:
                raise RuntimeError("DALI was shut down before this batch was done")
            self._collect()

    def _collect(self) -> None:
        """Take the oldest batch, or the reason why there is none, into its ticket."""
        assert self._pipeline is not None
        ticket, stream = self._scheduled.popleft(), self._stream()
        # DALI raises errors of many kinds, for one batch alone: the next ones are sound.
        try:
            (output,) = self._pipeline.share_outputs(cuda_stream=stream)
            self._pipeline.release_outputs()
            ticket.image_BCHW = self._as_torch(output.as_tensor(), stream).permute(0, 3, 1, 2)
        except Exception as error:
            ticket.failure = DaliError(f"DALI failed on a batch of {len(ticket.row_B)} images: {_reason(error)}")
        if stream is not None:
            ticket.event = stream.record_event()

    def _as_torch(self, output: Any, stream: torch.cuda.Stream | None) -> torch.Tensor:
        if stream is None:
            image = from_dlpack(output)  # DALI allocates each batch anew, so the memory is torch's to keep
        else:
            # A copy (0.3 GB of traffic for 256 images of 224 pixels): of its own memory DALI would not know which
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

    def _mend(self, ticket: Ticket, files: FileFeed) -> Exception | None:
        """DALI fails for a whole batch and names no file: find those that fail alone, and run the batch once more.

        Takes the batch into the ticket, or returns the error of the first file that is bad. What our own reader can
        read, and DALI cannot, is given to it as a PNG copy.
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


def _reason(error: Exception) -> str:
    """What DALI says without the trace of the graph's definition, and without what its dynamic executor disproves."""
    return str(error).rpartition("encountered:")[2].partition("Current pipeline object")[0].strip()


def squash(samples: Samples, spec: DataSpec, device: torch.device, size_HW: SizeHW, row_R: Rows) -> torch.Tensor:
    """uint8 R x H x W x C in host memory: these files, whole, resized with antialias. Raises InputError naming one."""
    worker = DaliExecutor(samples, replace(spec, image_size=size_HW, augment=AugmentSpec()), device, torch.uint8)
    canvas_RHWC = torch.empty((len(row_R), *size_HW, spec.channels), dtype=torch.uint8)
    tickets: deque[tuple[slice, Ticket]] = deque()

    def take() -> None:
        place, ticket = tickets.popleft()
        canvas_RHWC[place] = ticket.result().permute(0, 2, 3, 1).cpu()

    try:
        for start in range(0, len(row_R), BLOCK):
            row_B = row_R[start : start + BLOCK]
            whole_B = plan.training(0, 0, AugmentSpec(), samples.size_N2[row_B], size_HW)
            tickets.append((slice(start, start + len(row_B)), worker.submit(row_B, whole_B)))
            if len(tickets) > spec.prefetch:
                take()
        while tickets:
            take()
    finally:
        worker.close()
    return canvas_RHWC


def decoder(spec: DataSpec) -> str:
    """What decodes a canvas here: version and settings on which pixels depend."""
    return f"reader {READER} dali {__version__} hw {spec.dali.hw_decoder_load:g} fancy {spec.dali.fancy_upsampling:d}"
