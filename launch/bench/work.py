"""Images, device and cache that the variants of the bench share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from data_pipes.sources.images import FileImages
from data_pipes.sources.samples import Samples
from data_pipes.spec import DataSpec

CPU_CANVAS = "on a CPU, DALI is for comparing pixels; data.executor resident has the same canvas"


class LeftOut(Exception):  # noqa: N818 - not an error: this machine or data set has nothing to measure
    """A variant that cannot run here; the message is the reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """The images of a measurement, and how they are loaded."""

    spec: DataSpec
    samples: Samples
    """Samples of every pass; whole batches."""
    batch_size: int
    device: torch.device
    seed: int

    @property
    def files(self) -> FileImages:
        """The store of image files; LeftOut if the images are one array."""
        if not isinstance(self.samples.images, FileImages):
            raise LeftOut(f"data.source {self.spec.source} is one array of pixels: there is nothing to decode")
        return self.samples.images

    def settle(self) -> None:
        """Wait for the device."""
        settle(self.device)


def settle(device: torch.device) -> None:
    """Wait for asynchronous work of a device."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


@contextmanager
def throwaway_cache(parent: Path | None = None) -> Iterator[Path]:
    """A temporary cache folder, of which nothing should stay. parent: the folder that it is made in."""
    kept = os.environ.get("HEARTCUT_CACHE")
    with tempfile.TemporaryDirectory(prefix="heartcut-bench-", dir=parent) as folder:
        os.environ["HEARTCUT_CACHE"] = folder
        try:
            yield Path(folder)
        finally:
            os.environ.pop("HEARTCUT_CACHE")
            if kept is not None:
                os.environ["HEARTCUT_CACHE"] = kept
