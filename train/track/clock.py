"""Where the time of an epoch goes: images, teacher, step, evaluation.

On a GPU the host runs ahead of the device. What the host waits for is read from its clock; the teacher and the step
are timed by events on the device, which are read where the host waits for the device in any case. The parts then
overlap: the device works on a step while the host waits for the next images.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from accelerate import Accelerator

T = TypeVar("T")
PARTS = ("data", "teacher", "step", "evaluation", "training")
"""data: waiting for images. step: all of a micro-batch but the teacher. training: the whole epoch but evaluation."""


@dataclass(slots=True)
class Clock:
    """Seconds of an epoch by part."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    _spans: list[tuple[str, Any, Any]] = field(default_factory=list)

    def begin(self, saved: Mapping[str, float]) -> None:
        """Begin an epoch, with the seconds that a checkpoint has of it."""
        self.seconds = {part: saved.get(part, 0.0) for part in PARTS}
        self._spans.clear()

    def batches(self, batches: Iterable[T]) -> Iterator[T]:
        """Pass batches on; the time in which the host waits for one counts as data."""
        own = iter(batches)
        while True:
            with self.waiting("data"):
                batch = next(own, None)
            if batch is None:
                return
            yield batch

    @contextmanager
    def waiting(self, part: str) -> Iterator[None]:
        """Count the host's time."""
        started = time.monotonic()
        yield
        self.seconds[part] += time.monotonic() - started

    @contextmanager
    def working(self, part: str) -> Iterator[None]:
        """Count the device's time, which `read` adds later. A part within another counts for itself alone."""
        started = self._now()
        yield
        self._spans.append((part, started, self._now()))

    def read(self) -> None:
        """Add what the device has been timed at; it must have come to the end of it."""
        for part, started, ended in self._spans:
            seconds = started.elapsed_time(ended) / 1000 if self._by_events else ended - started
            self.seconds[part] += seconds
            if part == "teacher":  # it is within the step
                self.seconds["step"] -= seconds
        self._spans.clear()

    def mean(self, accelerator: Accelerator) -> dict[str, float]:
        """Return the mean over processes. Collective."""
        values = torch.tensor(list(self.seconds.values()), dtype=torch.float64, device=accelerator.device)
        return dict(zip(self.seconds, accelerator.reduce(values, reduction="mean").tolist(), strict=True))

    @property
    def _by_events(self) -> bool:
        return self.device.type == "cuda"

    def _now(self) -> Any:
        if not self._by_events:
            return time.monotonic()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event
