"""Console output of a run: a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from configs.shown import printable
from configs.tables import PlainConsole

logger = logging.getLogger(__name__)
FIRST_STEPS, FIRST_SECONDS = 5, 10.0
console = PlainConsole(stderr=True)


class Printable(logging.Formatter):
    """Lines in which names cannot steer the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line with control characters visible."""
        return printable(super().format(record))


def start_logging(main_process: bool) -> None:
    """Log INFO of our packages on the main process, and warnings from everywhere."""
    plain = logging.StreamHandler(sys.stderr)
    plain.setFormatter(Printable("%(asctime)s  %(message)s", datefmt="%H:%M:%S"))
    pretty = RichHandler(console=console, show_path=False, show_level=False, log_time_format="%H:%M:%S")
    pretty.setFormatter(Printable("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[pretty if console.is_terminal else plain], force=True)
    logging.getLogger("timm").setLevel(logging.ERROR)  # it warns of settings that are ours to choose
    _said.clear()
    for package in ("data_pipes", "models", "train"):
        logging.getLogger(package).setLevel(logging.INFO if main_process else logging.WARNING)


_said: set[str] = set()


def say_once(to: logging.Logger, text: str, key: str | None = None, level: int = logging.INFO) -> None:
    """Log what holds for all stages of a chain with the first of them. key: what is compared; None: the text."""
    mark = key or text
    if mark not in _said:
        to.log(level, "%s", text)
    _said.add(mark)


@dataclass(slots=True)
class Pace:
    """The time of the first steps, from which that of the whole run is estimated, once."""

    first: int | None = None
    """Steps that were done when the clock started: the very first step here is not timed, as it loads libraries."""
    began: float = 0.0
    told: bool = False

    def left(self, done: int, steps: int, now: float) -> float | None:
        """Return the seconds that are left, once, after FIRST_STEPS and FIRST_SECONDS, unless they are few.

        Args:
            done: Steps taken, of the whole run.
            steps: Steps of the whole run.
            now: Seconds of a clock.
        """
        if self.first is None:
            self.first, self.began = done, now
        elapsed, taken = now - self.began, done - self.first
        if self.told or taken < FIRST_STEPS or elapsed < FIRST_SECONDS:
            return None
        self.told = True
        left = (steps - done) * elapsed / taken
        return left if left >= FIRST_SECONDS else None


class Bar:
    """Progress bar of an epoch's steps; hidden without a terminal and on all but the main process."""

    def __init__(self, steps: int, *, visible: bool) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        shown = visible and console.is_terminal
        self._progress = Progress(*columns, console=console, disable=not shown, transient=True)
        self._task = self._progress.add_task("", total=steps)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, epoch: int, epochs: int, step: int) -> None:
        """Show a step of an epoch (counted from 0)."""
        self._progress.update(self._task, completed=step, description=f"epoch {epoch + 1}/{epochs}")
