"""Micro-batches of a split on the device, the same ones for any number of processes.

The order of an epoch is padded to whole steps and divided like this:

    step s         rows [s G, (s + 1) G)         G: global batch
    slot a W + r   m of them                     m: micro-batch, a: accumulation index, r: rank of W processes

Micro-batches depend on G and m only, so that BatchNorm, dropout and mixing see the same on one GPU and on eight.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from accelerate.data_loader import DataLoaderStateMixin
from accelerate.state import GradientState

from configs.errors import UsageError
from data_pipes import pixels, plan
from data_pipes.batch import Batch
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
class Views:
    """Which view of the plan an epoch shows."""

    seed: int
    """Seed of the plan; the order of samples has its own."""
    count: int | None = None
    """Number of different views, shown in turn; None: a new one every epoch."""
    first: int = 0
    """Epochs trained by earlier runs of a chain; views and sample order continue from there."""

    def of(self, epoch: int) -> int:
        """The view that an epoch shows."""
        return (self.first + epoch) % self.count if self.count else self.first + epoch


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

    @property
    def steps(self) -> int:
        """Steps of an epoch; the last one may contain padding."""
        return -(-len(self.dataset) // self._layout.batch_size)

    def __len__(self) -> int:
        return self.steps * self._layout.accumulation

    def epoch(self, number: int, *, first_step: int = 0) -> Iterator[Batch]:
        """Micro-batches of one epoch from `first_step` on; `accumulation` of them make a step."""
        self.begin()
        try:
            view = -1 if self._seed is None else self.views.of(number)
            for ticket, batch in self._batches(self._tickets(number, first_step), view):
                self.end_of_dataloader = ticket.last
                yield batch
        finally:
            self.end()

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
        return (batch for _, batch in self._batches(tickets, view))

    def _batches(self, tickets: Iterator[_Ticket], view: int) -> Iterator[tuple[_Ticket, Batch]]:
        queue = deque(islice(tickets, self._spec.prefetch))
        while queue:
            ticket, batch = queue[0], self._finish(queue[0], view)
            queue.popleft()
            queue.extend(islice(tickets, 1))
            yield ticket, batch

    def close(self) -> None:
        """End the executor's threads and release what it keeps in memory."""
        self._executor.close()
        self._label_N = self._label_N.new_empty(0)

    def plan(self, view: int) -> Plan:
        """The plan of the whole split for one view."""
        if self._seed is None:
            return plan.evaluation(self.dataset.size_N2, self._spec.eval_crop, self._spec.image_size)
        size_N2 = self.dataset.size_N2
        return plan.training(self.views.seed, view, self._spec.augment, size_N2, self._spec.image_size)

    def _tickets(self, number: int, first_step: int) -> Iterator[_Ticket]:
        layout, plan_N = self._layout, self.plan(self.views.of(number))
        own_N = np.arange(len(plan_N), dtype=np.int64)
        epoch = self.views.first + number
        order_N = own_N if self._seed is None else plan.order(self._seed, epoch, plan_N.partner_N)
        padded = pad(order_N, self.steps * layout.batch_size, paired=bool((plan_N.partner_N != own_N).any()))
        shape = (self.steps, layout.accumulation, layout.world_size, layout.micro_batch_size)
        shown = self._begin(padded.reshape(shape)[first_step:, :, layout.rank].reshape(-1), plan_N)
        for step in range(first_step, self.steps):
            step_real = min(layout.batch_size, len(plan_N) - step * layout.batch_size)
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


def pad(order_N: Rows, length: int, *, paired: bool) -> Rows:
    """The order, repeated up to `length` so that BatchNorm sees real images; pairs stay at even positions."""
    lone = len(order_N) % 2 if paired else 0
    body = order_N[: len(order_N) - lone]
    bridge = order_N[len(body) :][: length - len(order_N)]  # a sample without a partner is paired with itself
    return np.concatenate([order_N, bridge, np.resize(body, length - len(order_N) - len(bridge))])


def partner_places(row_E: Rows, partner_E: Rows, size: int) -> Rows:
    """Position of each row's partner in its micro-batch of `size` rows: the other of an even-odd pair, or its own."""
    row_TB, partner_TB = row_E.reshape(-1, size), partner_E.reshape(-1, size)
    position_B = np.arange(size, dtype=np.int64)
    place_TB = np.where(partner_TB == row_TB, position_B, position_B ^ 1)
    assert np.array_equal(np.take_along_axis(row_TB, place_TB, axis=1), partner_TB), "partners were separated"
    return place_TB.reshape(-1)
