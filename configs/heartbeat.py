"""Progress of long work in the log: a line a minute, so that nobody takes a long wait for a hang."""

from __future__ import annotations

import logging
import time

from configs.figures import duration

FIRST_SECONDS = 5.0
SECONDS = 60.0


class Heartbeat:
    """Says how much is done of all, at which rate, and how long the rest will take: soon after the start, then every
    minute."""

    def __init__(self, logger: logging.Logger, work: str, total: int) -> None:
        """work: what is done to images, with its subject, such as `canvas: decoded`."""
        self._logger, self._work, self._total = logger, work, total
        self._first: int | None = None
        self._began = time.monotonic()
        self._next = self._began + FIRST_SECONDS

    @property
    def due(self) -> bool:
        """Whether the next beat logs a line."""
        return self._first is not None and time.monotonic() >= self._next

    def beat(self, done: int) -> None:
        """Log a line if one is due. done: images that are done; the first call says how many were so at the start."""
        now = time.monotonic()
        if self._first is None:
            self._first = done
        if not self.due:
            return
        self._next = now + SECONDS
        rate = (done - self._first) / max(now - self._began, 1e-9)
        left = f"{duration((self._total - done) / rate)} left" if rate > 0 else "no progress yet"
        self._logger.info("%s %s of %s images, %s images/s, %s", self._work, *self._counts(done, rate), left)

    def _counts(self, done: int, rate: float) -> tuple[str, str, str]:
        return f"{done:,}", f"{self._total:,}", f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"
