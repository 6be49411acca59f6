"""A canvas on disk: pixels in one file, and a manifest with a checksum of every block.

    canvas-KEY.pixels   N x H x W x C levels, row after row, and nothing else
    canvas-KEY.json     the key in plain text, the shape, and the CRC-32 of every block of rows
    canvas-KEY.lock     locked by the process that writes; the kernel releases it however that process ends

Files are replaced atomically, the manifest last. Only blocks that match the manifest are used: after a crash, a disk
error or a second writer, pixels are decoded again and never wrong.

N images, R of them in a block, H x W pixels, C channels.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import math
import os
import platform
import secrets
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from configs.files import read_regular, remove_abandoned, write_atomically
from data_pipes.executors.render import Pixels

logger = logging.getLogger(__name__)

# Part of the key: increase it whenever the layout of the files or the processing of pixels changes.
FORMAT = 1
BLOCK_BYTES = 64 << 20
BLOCK_ROWS = 1024
NAMED_BLOCKS = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of reading a canvas."""

    lacking: frozenset[int]
    """Blocks that must be decoded; empty if the whole canvas was read."""
    damage: str = ""
    """What is wrong, with file and blocks; empty if the canvas is intact or was never written."""


class CanvasFile:
    """The files of the canvas of `shape` (N, H, W, C) made from `origin`, which may not exist yet."""

    def __init__(self, folder: Path, shape: Sequence[int], origin: Mapping[str, str]) -> None:
        self.shape = tuple(shape)
        self.blocks = blocks(shape)
        self.identity: dict[str, Any] = {
            "format": FORMAT,
            "shape": list(shape),
            "rows_per_block": self.blocks[0].stop if self.blocks else 0,
            **origin,
        }
        key = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:32]
        self.pixels = folder / f"canvas-{key}.pixels"
        self.manifest = self.pixels.with_suffix(".json")
        self._lock = self.pixels.with_suffix(".lock")

    @property
    def size(self) -> int:
        """Bytes of the pixels."""
        return math.prod(self.shape)

    def read(self, pixel_NHWC: Pixels, threads: int = 1) -> Finding:
        """Fill `pixel_NHWC` with the blocks that match the manifest; the content of the others is undefined."""
        assert pixel_NHWC.shape == self.shape and pixel_NHWC.dtype == np.uint8 and pixel_NHWC.flags.c_contiguous
        try:
            crcs = self._checksums()
        except ValueError as damage:
            return Finding(frozenset(range(len(self.blocks))), str(damage))
        if crcs is None:
            return Finding(frozenset(range(len(self.blocks))))
        with ThreadPoolExecutor(threads, thread_name_prefix="canvas") as pool:
            parts = [pixel_NHWC[rows] for rows in self.blocks]
            faults = {i: fault for i, fault in enumerate(pool.map(self._read_block, self.blocks, parts, crcs)) if fault}
        return Finding(frozenset(faults), self._named(faults) if faults else "")

    def _checksums(self) -> list[int] | None:
        """CRC-32 of every block; None if no canvas was ever written. ValueError: the manifest is damaged."""
        try:
            manifest = json.loads(read_regular(self.manifest))
        except (FileNotFoundError, NotADirectoryError):
            if self.pixels.exists():
                raise ValueError(f"{self.pixels} has no manifest {self.manifest.name}") from None
            return None
        except (OSError, ValueError, RecursionError) as error:
            raise ValueError(f"{self.manifest} cannot be read ({error})") from error
        identity, crcs = (manifest.get("identity"), manifest.get("crc_32")) if isinstance(manifest, dict) else (0, 0)
        if not isinstance(identity, dict) or not isinstance(crcs, list) or len(crcs) != len(self.blocks):
            raise ValueError(f"{self.manifest} is not a manifest of {len(self.blocks)} blocks")
        for name, right in self.identity.items():
            if identity.get(name) != right:
                raise ValueError(
                    f"{self.manifest} is foreign: {name} is {identity.get(name)!r} and should be {right!r}"
                )
        return crcs

    def _read_block(self, rows: slice, pixel_RHWC: Pixels, crc: object) -> str:
        """What is wrong with a block; empty if it is intact."""
        target = pixel_RHWC.reshape(-1).data
        try:
            with self.pixels.open("rb") as file:  # each thread its own: they share no position
                file.seek(rows.start * math.prod(self.shape[1:]))
                count = file.readinto(target)
        except OSError as error:
            return error.strerror or type(error).__name__
        if count < len(target):
            return f"{len(target) - count} bytes are missing"
        return "" if zlib.crc32(target) == crc else "the checksum differs"

    def _named(self, faults: dict[int, str]) -> str:
        named = []
        for block, text in list(faults.items())[:NAMED_BLOCKS]:
            rows = self.blocks[block]
            named.append(f"block {block} (images {rows.start} to {rows.stop - 1}): {text}")
        more = f"; and {len(faults) - NAMED_BLOCKS} more" if len(faults) > NAMED_BLOCKS else ""
        return f"{self.pixels} is damaged in {len(faults)} of {len(self.blocks)} blocks: {'; '.join(named)}{more}"

    @contextmanager
    def lock(self) -> Iterator[bool]:
        """Wait for the lock and hold it. False: files cannot be locked here."""
        file = None
        try:
            self._lock.parent.mkdir(parents=True, exist_ok=True)
            file = self._lock.open("ab")
            self._wait(file)
            alone = True
        except (OSError, ImportError):  # two writers then do the same work, and the last one's files are kept
            alone = False
        try:
            yield alone
        finally:
            if file is not None:
                file.close()

    def _wait(self, file: IO[bytes]) -> None:
        import fcntl  # Windows has none

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("canvas: another process is writing %s; waiting for it", self.pixels)
            fcntl.flock(file, fcntl.LOCK_EX)


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
            "canvas: %s cannot be kept (%s): it takes %.2f GB and %s; the images stay in memory and are decoded again "
            "by the next run",
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


def blocks(shape: Sequence[int]) -> list[slice]:
    """Blocks of rows of an N x H x W x C canvas, which are decoded, written and checked together."""
    rows = max(1, min(BLOCK_ROWS, BLOCK_BYTES // math.prod(shape[1:])))
    return [slice(start, min(start + rows, shape[0])) for start in range(0, shape[0], rows)]
