"""One run in wandb, over all attempts at it. Whatever goes wrong there neither stops a training nor keeps it waiting.

Nothing is logged twice or lost, wherever an attempt was killed: an attempt begins with what wandb knows, from its
server or from the files of earlier attempts, and logs what metrics.jsonl has beyond that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from configs.stopping import StoppedError
from train.track.wandb_files import Memo, sync_line, wait_for_end

logger = logging.getLogger(__name__)


@dataclass(kw_only=True, slots=True)
class WandbRun:
    """The run, as long as wandb works."""

    run: Any
    """None once something went wrong."""
    folder: Path
    memo: Memo
    swept: bool
    """Whether an agent started it."""
    known: dict[str, Any] = field(default_factory=dict)
    """The last value of everything that wandb has."""
    ended: bool = False

    def log(self, record: Mapping[str, Any]) -> None:
        """One row, with its train/step, unless wandb has it already."""
        if self._knows(record):
            return
        self.known |= record
        # Never pass step=: after a resumption wandb would drop every row up to the last one it saw.
        self._guarded("log", lambda: self.run.log(dict(record)))

    def show(self, step: int, pictures: Mapping[str, Path]) -> None:
        """Images, from their files."""
        self._guarded("log", lambda: self._show(step, pictures))

    def table(self, step: int, name: str, columns: list[str], rows: list[list[Any]]) -> None:
        """A table, unless wandb has one of that name already."""
        if name not in self.known:
            self._guarded("log", lambda: self._table(step, name, columns, rows))

    def finish(self, summary: Mapping[str, Any] | None = None, error: BaseException | None = None) -> None:
        """End this attempt, and say how to upload what is not uploaded. Calling it again does nothing."""
        if self.ended:
            return
        self.ended = True
        self._guarded("finish", lambda: self._finish(summary or {}, error))
        if line := sync_line(self.folder, self.memo):
            logger.info("wandb: upload with  %s", line)

    def _show(self, step: int, pictures: Mapping[str, Path]) -> None:
        import wandb

        self.run.log({"train/step": step, **{name: wandb.Image(str(path)) for name, path in pictures.items()}})

    def _table(self, step: int, name: str, columns: list[str], rows: list[list[Any]]) -> None:
        import wandb

        self.run.log({"train/step": step, name: wandb.Table(columns=columns, data=rows)})

    def _finish(self, summary: Mapping[str, Any], error: BaseException | None) -> None:
        self.run.summary.update(dict(summary))
        if self.swept and isinstance(error, StoppedError):
            self.run.mark_preempting()  # the sweep then gives it to an agent again
        self.run.finish(exit_code=0 if error is None else getattr(error, "exit_code", 1))
        if self.run.offline:
            wait_for_end(Path(self.run.settings.sync_file))
        else:
            self.memo = replace(self.memo, pending=())
            self.memo.write(self.folder)

    def _knows(self, record: Mapping[str, Any]) -> bool:
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
    """Say once that wandb is given up."""
    logger.warning("wandb: %s: %s; training goes on without it, metrics.jsonl has everything", what, line_of(error))


def line_of(error: Exception) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__
