"""Event files for TensorBoard, in RUN/tensorboard. Like wandb, they cannot stop a training.

metrics.jsonl is the record. Each attempt at a run writes all of it into a new event file and removes its own older
ones, so that no point is there twice or missing wherever an earlier attempt was killed.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from configs.errors import UsageError

logger = logging.getLogger(__name__)
FOLDER = "tensorboard"
SUFFIX = ".heartcut"
"""Of the names of our event files: no others are removed."""


def require_installed(*, wanted: bool) -> None:
    """UsageError if TensorBoard is wanted and its package is not there."""
    if wanted and importlib.util.find_spec("tensorboard") is None:
        raise UsageError("track.tensorboard is true, but tensorboard is not installed: pip install tensorboard")


class TensorBoardRun:
    """The event file of an attempt, as long as it can be written."""

    def __init__(self, writer: Any) -> None:
        """writer: torch's SummaryWriter."""
        self._writer = writer

    @classmethod
    def start(cls, folder: Path, *, wanted: bool) -> Self | None:
        """Begin an event file in a run folder, on the main process. None: not wanted, or it cannot be written.

        UsageError: the package is not there.
        """
        if not wanted:
            return None
        require_installed(wanted=wanted)
        from torch.utils.tensorboard import SummaryWriter

        home = folder / FOLDER
        try:
            for path in home.glob(f"events.out.tfevents.*{SUFFIX}"):
                path.unlink()
            # A TensorBoard that is open on the folder forgets what it has read of the older file.
            return cls(SummaryWriter(str(home), purge_step=0, filename_suffix=SUFFIX))
        except OSError as error:
            _warn(error)
            return None

    def log(self, record: Mapping[str, Any]) -> None:
        """Write one row, which has a train/step. Numbers that are null are left out."""
        self._guarded(lambda: self._log(record))

    def show(self, step: int, pictures: Mapping[str, Path]) -> None:
        """Write images, by name, from their files."""
        self._guarded(lambda: self._show(step, pictures))

    def finish(self) -> None:
        """End the event file. Calling it again does nothing."""
        self._guarded(lambda: self._writer.close())
        self._writer = None

    def _log(self, record: Mapping[str, Any]) -> None:
        for name, value in record.items():
            if name != "train/step" and value is not None:
                self._writer.add_scalar(name, value, int(record["train/step"]))
        if "epoch" in record:
            self._writer.flush()

    def _show(self, step: int, pictures: Mapping[str, Path]) -> None:
        import numpy as np
        from PIL import Image

        for name, path in pictures.items():
            with Image.open(path) as image:
                self._writer.add_image(name, np.asarray(image.convert("RGB")), step, dataformats="HWC")

    def _guarded(self, action: Callable[[], object]) -> None:
        if self._writer is None:
            return
        try:
            action()
        except Exception as error:  # its thread hands on whatever writing raised
            _warn(error)
            self._writer = None


def _warn(error: Exception) -> None:
    text = " ".join(str(error).split()) or type(error).__name__
    logger.warning("TensorBoard: %s; training goes on without it, metrics.jsonl has everything", text)
