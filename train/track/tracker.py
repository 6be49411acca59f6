"""Measurements of a run: metrics.jsonl always, wandb and TensorBoard if enabled. On the main process only."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from configs.files import read_regular, write_atomically
from train.track.wandb_run import WandbRun

# Names that readers of a run can rely on; docs/metrics.md says what they mean. Each term of the loss has its own curve,
# too: train/ce and so on.
CURVES = (
    *("train/step", "epoch"),
    *("train/loss", "train/accuracy", "train/lr", "train/gradient_norm", "train/images_per_second"),
    *("validation/loss", "validation/accuracy"),
    *("seconds/data", "seconds/step", "seconds/evaluation"),
)
TEACHER_CURVES = ("train/agreement", "validation/agreement", "seconds/teacher")
STEP_CURVES = ("step/loss", "step/accuracy", "step/lr", "step/gradient_norm")
PICTURES = ("images", "confusion")
LARGEST = 2**32  # bytes of metrics.jsonl
CUT_CURVES = ("cut/parameters", "cut/nonzero", "cut/macs", "cut/accuracy_just_after", "cut/accuracy")
CUT_TABLE = ("step", "parameters", "non-zero", "MACs", "accuracy before", "accuracy after")


class Board(Protocol):
    """What receives the rows besides wandb: a TensorBoardRun, whose module needs torch."""

    def log(self, record: Mapping[str, Any]) -> None:
        """Write one row, which has a train/step."""

    def show(self, step: int, pictures: Mapping[str, Path]) -> None:
        """Write images, by name, from their files."""

    def finish(self) -> None:
        """End the record; again: do nothing."""


class Tracker:
    """Writer of metrics.jsonl, which is the record; wandb and TensorBoard receive the same rows."""

    def __init__(
        self, path: Path, *, resume_step: int, run: WandbRun | None = None, board: Board | None = None
    ) -> None:
        """Open the file for appending, without the lines that a killed process wrote after its last checkpoint.

        The remaining lines are passed on to wandb and TensorBoard, where earlier attempts may have lost rows.
        """
        self.run, self.board = run, board
        kept = []
        if path.exists():
            lines = read_regular(path, LARGEST).decode(errors="replace").splitlines()
            kept = [line for line in lines if _step(line) <= resume_step]
            write_atomically(path, "".join(f"{line}\n" for line in kept))
        self._file = path.open("a", buffering=1, encoding="utf-8")
        for line in kept if (run, board) != (None, None) else ():
            self._pass_on(json.loads(line))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the attempt; as failed in wandb if there is an error."""
        self._file.close()
        if self.board is not None:
            self.board.finish()
        if self.run is not None:
            self.run.finish(error=error)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write one line: the optimizer step and named numbers. Numbers that are not finite become null."""
        # JSON has no NaN: a gradient norm may overflow where the loss did not.
        numbers = {name: float(value) if math.isfinite(value) else None for name, value in values.items()}
        record = {"train/step": step, **numbers}
        self._file.write(json.dumps(record) + "\n")
        self._pass_on(record)

    def show(self, step: int, pictures: Mapping[str, Path]) -> None:
        """Hand images on, by name, from their files."""
        if self.run is not None:
            self.run.show(step, pictures)
        if self.board is not None:
            self.board.show(step, pictures)

    def close(self, summary: Mapping[str, Any] | None = None) -> None:
        """End the records, wandb's with its summary if the run is complete."""
        self._file.close()
        if self.board is not None:
            self.board.finish()
        if self.run is not None:
            self.run.finish(summary)

    def _pass_on(self, record: Mapping[str, Any]) -> None:
        if self.run is not None:
            self.run.log(record)
        if self.board is not None:
            self.board.log(record)


def _step(line: str) -> float:
    """Step of one line; infinity for a line that a kill left incomplete, or somebody damaged."""
    try:
        return float(json.loads(line)["train/step"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return float("inf")
