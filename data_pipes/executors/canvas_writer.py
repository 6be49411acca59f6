"""Writes a canvas to disk, so that it appears whole or not at all. R images of a block, H x W pixels, C channels."""

from __future__ import annotations

import errno
import json
import logging
import os
import platform
import secrets
import shutil
import zlib
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import IO

import numpy as np

from configs.files import remove_abandoned, write_atomically
from data_pipes.executors.canvas_file import CanvasFile
from data_pipes.executors.render import Pixels

logger = logging.getLogger(__name__)


class Writer:
    """Writes a canvas block by block under a temporary name; `keep` moves it into place.

    A run can do without the file: the first OSError is logged as a warning, and nothing is written after it.
    """

    def __init__(self, target: CanvasFile, *, alone: bool) -> None:
        """alone: the lock is held, so that other temporary files belong to writers that died."""
        self._target = target
        self._crc: list[int] = []
        self._file: IO[bytes] | None = None
        self._partial = target.pixels.with_name(f".{target.pixels.name}.{secrets.token_hex(4)}.partial")
        try:
            for leftover in target.pixels.parent.glob(f".{target.pixels.stem}.*.partial") if alone else ():
                leftover.unlink(missing_ok=True)
            remove_abandoned(target.pixels.parent)  # of other canvases, which may never be asked for again
            if shutil.disk_usage(target.pixels.parent).free < target.size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._file = self._partial.open("xb")
        except OSError as error:
            self._give_up(error)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._discard()

    @property
    def failed(self) -> bool:
        """Whether the canvas cannot be kept."""
        return self._file is None

    def append(self, pixel_RHWC: Pixels) -> None:
        """Write the next block."""
        if self._file is None:
            return
        data = np.ascontiguousarray(pixel_RHWC).reshape(-1).data
        try:
            self._file.write(data)
        except OSError as error:
            self._give_up(error)
        else:
            self._crc.append(zlib.crc32(data))

    def keep(self, note: Mapping[str, str]) -> bool:
        """Move the canvas into place once all blocks are written; whether it is kept. `note` is informative only."""
        if self._file is None:
            return False
        assert len(self._crc) == len(self._target.blocks)
        made_by = {"python": platform.python_version(), "numpy": np.__version__, "host": platform.node()}
        content = {"identity": self._target.identity, "note": {**note, **made_by}, "crc_32": self._crc}
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._partial.replace(self._target.pixels)
            write_atomically(self._target.manifest, json.dumps(content, indent=1) + "\n")
        except OSError as error:
            self._give_up(error)
            return False
        return True

    def _give_up(self, error: OSError) -> None:
        self._discard()
        target = self._target
        try:
            free = f"{shutil.disk_usage(target.pixels.parent).free / 1e9:.2f} GB are free"
        except OSError:
            free = "the free space is unknown"
        logger.warning(
            "canvas: %s cannot be kept (%s): it takes %.2f GB and %s; each process decodes the images into its memory, "
            "and so will the next run",
            *(target.pixels, error.strerror or error, target.size / 1e9, free),
        )

    def _discard(self) -> None:
        if self._file is None:
            return
        with suppress(OSError):  # the buffer need not reach the disk
            self._file.close()
        self._file = None
        with suppress(OSError):
            self._partial.unlink(missing_ok=True)
