"""What is drawn for an epoch before it is shared out: the plan of its view and the order of its rows.

Drawing 1.28 million rows takes 3 to 6 seconds, so that the next epoch is drawn in a thread while one is shown.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from data_pipes import plan
from data_pipes.mixing import Rows
from data_pipes.plan import Plan
from data_pipes.sources.samples import Samples
from data_pipes.spec import DataSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Views:
    """What an epoch shows: which view of the plan, and how much of it."""

    seed: int
    """Seed of the plan; the order of samples has its own."""
    count: int | None = None
    """Number of different views, shown in turn; None: a new one every epoch."""
    first: int = 0
    """Epochs trained by earlier runs of a chain; views and sample order continue from there."""
    share: float = 1.0
    """Share of the split, in (0, 1]: the first steps of an epoch's order."""

    def of(self, epoch: int) -> int:
        """The view that an epoch shows."""
        return (self.first + epoch) % self.count if self.count else self.first + epoch


@dataclass(frozen=True, slots=True)
class Drawn:
    """An epoch of the whole split, for all processes."""

    plan_N: Plan
    row_E: Rows
    """The rows in their order, padded to whole steps; the first of them if an epoch shows fewer."""


class Drawing:
    """Draws epochs of a split, and one of them ahead of time."""

    def __init__(self, samples: Samples, spec: DataSpec, views: Views, *, seed: int | None, length: int) -> None:
        """seed: of the order; None: the evaluation view, in order. length: rows of an epoch, padding included."""
        self._size_N2, self._spec, self._views, self._seed, self._length = samples.size_N2, spec, views, seed, length
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="plan")
        self._ahead: tuple[int, Future[Drawn]] | None = None

    def plan(self, view: int) -> Plan:
        """Return the plan of the whole split for one view."""
        if self._seed is None:
            return plan.evaluation(self._size_N2, self._spec.eval_crop, self._spec.image_size)
        return plan.training(self._views.seed, view, self._spec.augment, self._size_N2, self._spec.image_size)

    def prepare(self, number: int) -> None:
        """Start to draw an epoch in a thread; one that was prepared before and not taken is dropped."""
        if self._ahead is None or self._ahead[0] != number:
            self._ahead = number, self._pool.submit(self._draw, number)

    def take(self, number: int) -> Drawn:
        """Return an epoch: the one that was prepared, or one that is drawn now."""
        if self._ahead is None or self._ahead[0] != number:
            return self._draw(number)
        (_, drawn), self._ahead = self._ahead, None
        return drawn.result()

    def close(self) -> None:
        """End the thread and release what is prepared."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._ahead = None

    def _draw(self, number: int) -> Drawn:
        plan_N = self.plan(self._views.of(number))
        own_N = np.arange(len(plan_N), dtype=np.int64)
        epoch = self._views.first + number
        order_N = own_N if self._seed is None else plan.order(self._seed, epoch, plan_N.partner_N)
        shown_E = order_N[: self._length]
        return Drawn(plan_N, pad(shown_E, self._length, paired=bool((plan_N.partner_N != own_N).any())))


def pad(order_N: Rows, length: int, *, paired: bool) -> Rows:
    """The order, repeated up to `length` so that BatchNorm sees real images; pairs stay at even positions."""
    lone = len(order_N) % 2 if paired else 0
    body = order_N[: len(order_N) - lone]
    bridge = order_N[len(body) :][: length - len(order_N)]  # a sample without a partner is paired with itself
    return np.concatenate([order_N, bridge, np.resize(body, length - len(order_N) - len(bridge))])
