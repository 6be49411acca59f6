"""A canvas from its file, or decoded into it: by one process of those that share the cache folder, in all its cores.

R images of a block, H x W pixels, C channels.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import torch

from configs import stopping
from configs.heartbeat import Heartbeat
from configs.resources import working_alone
from data_pipes.executors.canvas_file import CanvasFile
from data_pipes.executors.canvas_writer import Writer
from data_pipes.executors.render import Pixels
from data_pipes.mixing import Rows
from data_pipes.spec import DataSpec

logger = logging.getLogger(__name__)

Decode = Callable[[Rows], torch.Tensor]
"""Rows of a split to uint8 R x H x W x C."""


class Blocks:
    """Decodes blocks of rows and logs its progress."""

    def __init__(self, shape: tuple[int, ...], decode: Decode) -> None:
        self.decoded, self._shape, self._decode = 0, shape, decode
        self._heartbeat: Heartbeat | None = None
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def __call__(self, rows: slice) -> torch.Tensor:
        """These rows: uint8 R x H x W x C on the host. StoppedError: a stop is requested."""
        stopping.heed()
        self._heartbeat = self._heartbeat or Heartbeat(logger, "canvas: decoded", self._shape[0])
        self._heartbeat.beat(self.decoded)
        block_RHWC = self._decode(np.arange(rows.start, rows.stop))
        assert block_RHWC.dtype == torch.uint8 and block_RHWC.shape == (rows.stop - rows.start, *self._shape[1:])
        self.decoded += rows.stop - rows.start
        return block_RHWC

    def __str__(self) -> str:
        count, height, width, _ = self._shape
        some = "" if self.decoded in (0, count) else f"{self.decoded:,} of "
        return f"{some}{count:,} images of {height} x {width}"


def keep(file: CanvasFile, blocks: Blocks, note: dict[str, str], spec: DataSpec) -> Pixels | None:
    """The canvas of the file; blocks that the file lacks are decoded, and complete it. None: it cannot be kept."""
    size = f"{file.size / 1e9:.2f} GB"
    finding = file.look(spec.thread_count)
    if finding.lacking:
        with file.lock() as alone, working_alone() if alone else nullcontext():
            # Another process may have written or repaired blocks meanwhile: warn only of what is still wrong.
            finding = file.look(spec.thread_count)
            if finding.damage:
                logger.warning("canvas: %s. Damaged blocks are decoded again", finding.damage)
            if finding.lacking:
                kept = _write(file, finding.lacking, blocks, note, alone=alone)
                where = f"kept in {file.pixels}" if kept else "not kept"
                logger.info("canvas: %s decoded in %.1f s, %s (%s)", blocks, blocks.seconds, where, size)
                return file.look(spec.thread_count).pixel_NHWC if kept else None
    logger.info("canvas: %s read from %s in %.1f s (%s)", blocks, file.pixels, blocks.seconds, size)
    return finding.pixel_NHWC


def _write(file: CanvasFile, lacking: frozenset[int], blocks: Blocks, note: dict[str, str], *, alone: bool) -> bool:
    """Decode some blocks and write all of them; whether they are kept."""
    with Writer(file, alone=alone) as writer:
        for number, rows in enumerate(file.blocks):
            found = None if number in lacking else file.block(number)
            writer.append(blocks(rows).numpy() if found is None else found)
            if writer.failed:
                return False
        return writer.keep(note)
