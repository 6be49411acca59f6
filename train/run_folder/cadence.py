"""When a checkpoint is worth its time: at ends of epochs, and within epochs that are long.

A checkpoint of a ResNet-50 takes seconds, and an epoch of small images on a GPU takes one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

SHARE = 0.02
"""Of the time since this process began to train, which checkpoints that nobody asked for may take."""
FREE_SECONDS = 3.0
"""What they may take besides, so that short runs have a checkpoint at every end of an epoch."""


@dataclass(kw_only=True, slots=True)
class Cadence:
    """The clock of a run's checkpoints; the main process's counts."""

    minutes: float
    """Age of the last checkpoint at which the next one is due within an epoch; 0: never."""
    begun: float = field(default_factory=time.monotonic)
    spent: float = 0.0
    """Seconds that all checkpoints so far have taken."""
    longest: float = 0.0
    """Seconds that one of them has taken at most."""
    last: float = field(default_factory=time.monotonic)

    @property
    def affordable(self) -> bool:
        """Whether one more checkpoint would leave all of them within their share of the time."""
        return self.spent + self.longest <= FREE_SECONDS + SHARE * (time.monotonic() - self.begun)

    @property
    def due(self) -> bool:
        """Whether a checkpoint within an epoch should be written now."""
        return self.minutes > 0 and time.monotonic() - self.last >= 60 * self.minutes and self.affordable

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Measure a checkpoint that is being written."""
        start = time.monotonic()
        yield
        self.last = time.monotonic()
        self.spent += self.last - start
        self.longest = max(self.longest, self.last - start)
