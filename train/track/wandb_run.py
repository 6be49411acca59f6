"""One run in wandb, over all attempts at it. No failure of wandb stops a training or keeps it waiting.

Each attempt logs all of metrics.jsonl, so that nothing is lost wherever an earlier attempt was killed. Nothing is
there twice: online, rows that the server has are skipped; offline, the newest folder holds the whole run, and its
upload replaces what was uploaded before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from configs.errors import exit_code
from configs.shown import quote
from configs.stopping import StoppedError

logger = logging.getLogger(__name__)


@dataclass(kw_only=True, slots=True)
class WandbRun:
    """The run, as long as wandb works."""

    run: Any
    """wandb's own object; None once a call has failed."""
    swept: bool
    """Whether an agent of a sweep started it."""
    known: dict[str, Any] = field(default_factory=dict)
    """The last value of everything that the server has; empty offline."""
    upload: Path | None = None
    """Folder to upload; None online."""
    ended: bool = False

    def log(self, record: Mapping[str, Any]) -> None:
        """Log one row, which has a train/step, unless the server has it already."""
        if not self._is_known(record):
            # Never pass step=: after a resumption wandb would drop every row up to the last one it saw.
            self._guarded("log", lambda: self.run.log(dict(record)))

    def show(self, step: int, pictures: Mapping[str, Path]) -> None:
        """Log images, by name, from their files."""
        self._guarded("log", lambda: self._show(step, pictures))

    def table(self, step: int, name: str, columns: list[str], rows: list[list[Any]]) -> None:
        """Log a table, unless the server has one of that name already."""
        if name not in self.known:
            self._guarded("log", lambda: self._table(step, name, columns, rows))

    def finish(self, summary: Mapping[str, Any] | None = None, error: BaseException | None = None) -> None:
        """End this attempt; offline, log the command that uploads the run. Calling it again does nothing."""
        if self.ended:
            return
        self.ended = True
        self._guarded("finish", lambda: self._finish(summary or {}, error))
        if self.upload is not None:
            logger.info("wandb: upload with  wandb sync %s", quote(str(self.upload)))

    def _show(self, step: int, pictures: Mapping[str, Path]) -> None:
        import wandb

        self.run.log({"train/step": step, **{name: wandb.Image(str(path)) for name, path in pictures.items()}})

    def _table(self, step: int, name: str, columns: list[str], rows: list[list[Any]]) -> None:
        import wandb

        self.run.log({"train/step": step, name: wandb.Table(columns=columns, data=rows)})

    def _finish(self, summary: Mapping[str, Any], error: BaseException | None) -> None:
        self.run.summary.update(dict(summary))
        if self.swept and isinstance(error, StoppedError):
            self.run.mark_preempting()  # the sweep then hands it to an agent again
        self.run.finish(exit_code=0 if error is None else exit_code(error))

    def _is_known(self, record: Mapping[str, Any]) -> bool:
        step, last = record["train/step"], self.known.get("train/step")
        if last is None or step > last:
            return False
        return step < last or all(name in self.known and self.known[name] == value for name, value in record.items())

    def _guarded(self, what: str, action: Callable[[], object]) -> None:
        if self.run is None:
            return
        try:
            action()
        except Exception as error:  # whatever wandb raises
            warn(f"{what} failed", error)
            self.run = None


def warn(what: str, error: Exception) -> None:
    """Log that wandb is given up for this run."""
    logger.warning("wandb: %s: %s; training goes on without it, metrics.jsonl has everything", what, one_line(error))


def one_line(error: Exception) -> str:
    """An error's message, on one line."""
    return " ".join(str(error).split()) or type(error).__name__
