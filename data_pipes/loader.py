"""Micro-batches of a split on the device, the same ones for any number of processes.

The order of an epoch is padded to whole steps and divided like this:

    step s         rows [s G, (s + 1) G)         G: global batch
    slot a W + r   m of them                     m: micro-batch, a: accumulation index, r: rank of W processes

Micro-batches depend on G and m only, so that BatchNorm, dropout and mixing see the same on one GPU and on eight.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch
from accelerate.data_loader import DataLoaderStateMixin
from accelerate.state import GradientState

from configs.errors import UsageError
from data_pipes import pixels
from data_pipes.batch import Batch
from data_pipes.drawn import Drawing, Views, pad
from data_pipes.executors.build import Executor, Pending, Start
from data_pipes.mixing import Rows
from data_pipes.plan import Plan
from data_pipes.sources.samples import Samples
from data_pipes.spec import DataSpec
from data_pipes.transfer import to_device


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How a global batch is divided among processes and micro-batches."""

    batch_size: int
    micro_batch_size: int
    world_size: int = 1
    rank: int = 0

    def __post_init__(self) -> None:
        together = self.micro_batch_size * self.world_size
        if self.micro_batch_size < 1 or self.batch_size % together:
            raise UsageError(
                f"batch_size {self.batch_size} cannot be divided among {self.world_size} processes in micro-batches of "
                f"{self.micro_batch_size}: it must be a multiple of {together}"
            )

    @property
    def accumulation(self) -> int:
        """Micro-batches whose gradients each process adds up in one step."""
        return self.batch_size // (self.micro_batch_size * self.world_size)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Epoch:
    """The rows that this process shows of a view, in their order; on the device once, and not batch by batch."""

    row_E: Rows
    index_E: torch.Tensor
    columns_E: pixels.Columns | None
    start: Start

    def columns(self, part: slice) -> pixels.Columns | None:
        """What executors leave of the plan of a micro-batch."""
        return None if self.columns_E is None else self.columns_E[part]


@dataclass(frozen=True, slots=True)
class _Ticket:
    """A micro-batch in an executor's queue."""

    epoch: _Epoch
    part: slice
    real: int
    step_real: int
    last: bool
    pending: Pending


@dataclass(frozen=True, slots=True)
class _Queue:
    """The micro-batches of an epoch that are under way, and those that are still to be started."""

    view: int
    tickets: Iterator[_Ticket]
    started: deque[_Ticket] = field(default_factory=deque)

    def fill(self, size: int) -> None:
        """Start micro-batches until so many are under way, or none is left."""
        self.started.extend(islice(self.tickets, max(size - len(self.started), 0)))


class PlanLoader(DataLoaderStateMixin):  # type: ignore[misc]
    """Prefetching loader of one split, already sharded: never pass it to `accelerator.prepare`.

    Like accelerate's own loaders it tells GradientState where an epoch ends, so that `gather_for_metrics` is exact.
    """

    def __init__(
        self,
        samples: Samples,
        spec: DataSpec,
        layout: Layout,
        executor: Executor,
        *,
        seed: int | None,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        views: Views | None = None,
    ) -> None:
        """`executor` makes the images of `samples` and is closed with the loader.

        `seed` makes random training views in random order; None makes the fixed evaluation view, in order.
        `views` says which ones; unless given, the seed's own, a new one every epoch.
        `dtype` is that of targets and weights; that of images is the executor's.
        """
        assert seed is not None or layout.accumulation == 1, "evaluation has nothing to accumulate"
        if seed is not None and spec.augment.mixes and layout.micro_batch_size % 2:
            raise UsageError(f"mixup and cutmix need an even micro-batch; it is {layout.micro_batch_size}")
        self.dataset = samples
        self.total_batch_size = layout.micro_batch_size * layout.world_size
        self.gradient_state = GradientState()
        self._drop_last = False
        self._spec, self._layout, self._seed, self._device = spec, layout, seed, device
        self._dtype = dtype
        self.views = views or Views(seed=seed or 0)
        self._label_N = torch.from_numpy(samples.label_N).to(device)
        self._class_K = torch.arange(len(samples.classes), device=device)
        self._executor = executor
        self._drawing = Drawing(samples, spec, self.views, seed=seed, length=self.steps * layout.batch_size)
        self._next: tuple[int, _Queue] | None = None

    @property
    def steps(self) -> int:
        """Steps of an epoch; the last one may contain padding."""
        return max(round(self.views.share * -(-len(self.dataset) // self._layout.batch_size)), 1)

    def __len__(self) -> int:
        return self.steps * self._layout.accumulation

    def epoch(self, number: int, *, first_step: int = 0, followed: bool = False) -> Iterator[Batch]:
        """Micro-batches of one epoch from `first_step` on; `accumulation` of them make a step.

        followed: the next epoch will be asked for. It is drawn in a thread, and its first micro-batches are started
        behind the last ones of this epoch, so that the executor has work while the trainer evaluates and saves.
        """
        self.begin()
        try:
            queue = self._take_queue(number, first_step)
            queue.fill(self._spec.prefetch)
            if followed:
                self._drawing.prepare(number + 1)
            for ticket, batch in self._batches(queue, number + 1 if followed else None):
                self.end_of_dataloader = ticket.last
                yield batch
        finally:
            self.end()

    def prepare(self, number: int) -> None:
        """Start the first micro-batches of an epoch that will be asked for, while the trainer is still busy."""
        queue = self._take_queue(number, 0)
        queue.fill(self._spec.prefetch)
        self._next = (number, queue)

    def part(self, view: int, row_R: Rows) -> Iterator[Batch]:
        """Micro-batches of some rows of a view, in the order given, all in this process; the last one is padded.

        Rows that the view mixes must be in the order of `plan.pairs`.
        """
        size, plan_N = self._layout.micro_batch_size, self.plan(view)
        epoch = self._begin(pad(row_R, -(-len(row_R) // size) * size, paired=len(row_R) > 1), plan_N)
        tickets = (
            self._ticket(epoch, i, real=min(len(row_R) - i, size), step_real=1, last=False)
            for i in range(0, len(epoch.row_E), size)
        )
        return (batch for _, batch in self._batches(_Queue(view, tickets)))

    def _take_queue(self, number: int, first_step: int) -> _Queue:
        """Return the queue of an epoch, which may be under way already; one of another epoch is dropped."""
        ready, self._next = self._next, None
        if ready is not None and ready[0] == number and first_step == 0:
            return ready[1]
        view = -1 if self._seed is None else self.views.of(number)
        return _Queue(view, self._tickets(number, first_step))

    def _batches(self, queue: _Queue, following: int | None = None) -> Iterator[tuple[_Ticket, Batch]]:
        size = self._spec.prefetch
        queue.fill(size)
        while queue.started:
            ticket = queue.started[0]
            batch = self._finish(ticket, queue.view)
            queue.started.popleft()
            queue.fill(size)
            if following is not None and len(queue.started) < size:
                self._next = self._next or (following, self._take_queue(following, 0))
                self._next[1].fill(size - len(queue.started))
            yield ticket, batch

    def close(self) -> None:
        """End the threads of executor and plan, and release what is kept in memory."""
        self._drawing.close()
        self._next = None
        self._executor.close()
        self._label_N = self._label_N.new_empty(0)

    def plan(self, view: int) -> Plan:
        """The plan of the whole split for one view."""
        return self._drawing.plan(view)

    def _tickets(self, number: int, first_step: int) -> Iterator[_Ticket]:
        layout, drawn = self._layout, self._drawing.take(number)
        shape = (self.steps, layout.accumulation, layout.world_size, layout.micro_batch_size)
        shown = self._begin(drawn.row_E.reshape(shape)[first_step:, :, layout.rank].reshape(-1), drawn.plan_N)
        for step in range(first_step, self.steps):
            step_real = min(layout.batch_size, len(self.dataset) - step * layout.batch_size)
            for turn in range(layout.accumulation):
                offset = (turn * layout.world_size + layout.rank) * layout.micro_batch_size
                start = ((step - first_step) * layout.accumulation + turn) * layout.micro_batch_size
                real = min(max(step_real - offset, 0), layout.micro_batch_size)
                last = step == self.steps - 1 and turn == layout.accumulation - 1
                yield self._ticket(shown, start, real=real, step_real=step_real, last=last)

    def _begin(self, row_E: Rows, plan_N: Plan) -> _Epoch:
        """Hand the rows of whole micro-batches to the executor and to the device."""
        columns = None
        if self._seed is not None and self._spec.augment.mixes:
            plan_E = plan_N.take(row_E)
            place_E = partner_places(row_E, plan_E.partner_N, self._layout.micro_batch_size)
            columns = pixels.Columns.of(plan_E, place_E, self._spec, self._device)
        index_E, start = to_device(row_E, self._device), self._executor.begin(row_E, plan_N)
        return _Epoch(row_E=row_E, index_E=index_E, columns_E=columns, start=start)

    def _ticket(self, epoch: _Epoch, start: int, *, real: int, step_real: int, last: bool) -> _Ticket:
        part = slice(start, start + self._layout.micro_batch_size)
        return _Ticket(epoch, part, real, step_real, last, epoch.start(part))

    def _finish(self, ticket: _Ticket, view: int) -> Batch:
        layout, columns = self._layout, ticket.epoch.columns(ticket.part)
        image_BCHW = pixels.finish(ticket.pending.result(), columns)
        index_B = ticket.epoch.index_E[ticket.part]
        label_B = self._label_N[index_B]
        target_BK = (label_B[:, None] == self._class_K).to(self._dtype)
        if columns is not None:
            share_B1 = columns.share_B.to(target_BK)[:, None]
            target_BK = share_B1 * target_BK + (1 - share_B1) * target_BK[columns.place_B]
        weight_B = torch.zeros(layout.micro_batch_size, dtype=self._dtype, device=self._device)
        weight_B[: ticket.real] = layout.world_size * layout.accumulation / ticket.step_real
        return Batch(
            image_BCHW=image_BCHW, target_BK=target_BK, label_B=label_B, index_B=index_B, weight_B=weight_B, view=view,
            real=ticket.real,
        )  # fmt: skip


def partner_places(row_E: Rows, partner_E: Rows, size: int) -> Rows:
    """Position of each row's partner in its micro-batch of `size` rows: the other of an even-odd pair, or its own."""
    row_TB, partner_TB = row_E.reshape(-1, size), partner_E.reshape(-1, size)
    position_B = np.arange(size, dtype=np.int64)
    place_TB = np.where(partner_TB == row_TB, position_B, position_B ^ 1)
    assert np.array_equal(np.take_along_axis(row_TB, place_TB, axis=1), partner_TB), "partners were separated"
    return place_TB.reshape(-1)
