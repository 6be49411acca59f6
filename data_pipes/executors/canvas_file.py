"""A canvas on disk: pixels in one file, and a manifest with a checksum of every block.

    canvas-KEY.pixels   N x H x W x C levels, row after row, and nothing else
    canvas-KEY.json     the key in plain text, the shape, and the CRC-32 of every block of rows
    canvas-KEY.lock     locked by the process that writes; the kernel releases it however that process ends

Files are replaced atomically, the manifest last. Only blocks that match the manifest are used: after a crash, a disk
error or a second writer, pixels are decoded again and never wrong. A whole canvas is mapped into memory, of which the
processes of a machine then share one copy, the kernel's file cache.

N images, R of them in a block, H x W pixels, C channels.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import mmap
import os
import sys
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from configs.files import read_regular
from configs.heartbeat import Heartbeat
from data_pipes.executors.render import Pixels

logger = logging.getLogger(__name__)

# Part of the key: increase it whenever the layout of the files or the processing of pixels changes.
FORMAT = 1
BLOCK_BYTES = 64 << 20
BLOCK_ROWS = 1024
CHUNK_BYTES = 4 << 20
NAMED_BLOCKS = 3
POLL_SECONDS = 0.2
NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)  # Python 3.11 lacks the name


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of opening a canvas."""

    lacking: frozenset[int]
    """Blocks that must be decoded; empty if the whole canvas is there."""
    damage: str = ""
    """What is wrong, with file and blocks; empty if the canvas is intact or was never written."""
    pixel_NHWC: Pixels | None = field(default=None, compare=False)
    """The canvas if it is whole: its file mapped into memory. What is written into it stays in this process."""


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

    def look(self, threads: int = 1) -> Finding:
        """Compare every block with the manifest, and map the file if all match."""
        every = range(len(self.blocks))
        try:
            crcs = self._checksums()
        except ValueError as damage:
            return Finding(frozenset(every), str(damage))
        if crcs is None:
            return Finding(frozenset(every))
        try:
            with self.pixels.open("rb") as file:  # replaced meanwhile, it is still the one that was checked
                check = partial(self._fault, file.fileno())
                with ThreadPoolExecutor(threads, thread_name_prefix="canvas") as pool:
                    found = self._told(pool.map(check, every, crcs))
                    faults = {block: fault for block, fault in zip(every, found, strict=True) if fault}
                if not faults:
                    return Finding(frozenset(), pixel_NHWC=self._mapped(file))
        except OSError as error:
            faults = dict.fromkeys(every, _named_error(error))
        return Finding(frozenset(faults), self._named(faults))

    def _told(self, checks: Iterator[str]) -> Iterator[str]:
        """The results, with the progress in the log."""
        heartbeat = Heartbeat(logger, "canvas: compared with its checksums", self.shape[0])
        for rows in self.blocks:
            heartbeat.beat(rows.start)
            yield next(checks)

    def block(self, number: int) -> Pixels | None:
        """A copy of one block; None if it does not match the manifest."""
        rows = self.blocks[number]
        try:
            crcs = self._checksums()
            with self.pixels.open("rb") as file:
                data = os.pread(file.fileno(), self._bytes(rows), self._bytes(slice(0, rows.start)))
        except (OSError, ValueError):
            return None
        if crcs is None or len(data) < self._bytes(rows) or zlib.crc32(data) != crcs[number]:
            return None
        return np.frombuffer(data, np.uint8).reshape(-1, *self.shape[1:])

    def _mapped(self, file: IO[bytes]) -> Pixels:
        # Writable, as torch wants its memory, without a claim on memory for what might be written: the kernel would
        # refuse a canvas that is larger than its memory.
        flags, access = mmap.MAP_PRIVATE | NO_RESERVE, mmap.PROT_READ | mmap.PROT_WRITE
        try:
            mapped = mmap.mmap(file.fileno(), self.size, flags=flags, prot=access)
        except (OSError, ValueError):  # a file system that cannot map files: a copy for each process
            return np.fromfile(file, np.uint8, self.size).reshape(self.shape)
        return np.frombuffer(mapped, np.uint8).reshape(self.shape)

    def _bytes(self, rows: slice) -> int:
        count: int = rows.stop - rows.start
        return count * math.prod(self.shape[1:])

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

    def _fault(self, descriptor: int, block: int, right: object) -> str:
        """What is wrong with a block; empty if it is intact. Mapped, a disk error would be a signal that kills."""
        rows, crc, done = self.blocks[block], 0, 0
        start, size = self._bytes(slice(0, rows.start)), self._bytes(rows)
        try:
            while data := os.pread(descriptor, min(CHUNK_BYTES, size - done), start + done):
                crc, done = zlib.crc32(data, crc), done + len(data)
        except OSError as error:
            return _named_error(error)
        if done < size:
            return f"{size - done} bytes are missing"
        return "" if crc == right else "the checksum differs"

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

        heartbeat, written = None, 0
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if heartbeat is None:
                    logger.info("canvas: another process is writing %s; waiting for it", self.pixels)
                    heartbeat = Heartbeat(logger, "canvas: another process wrote", self.shape[0])
                written = max(written, self._written())  # at the end, the file gets another name
                heartbeat.beat(written)
                time.sleep(POLL_SECONDS)
            else:
                return

    def _written(self) -> int:
        """Images that a writer at work has written."""
        sizes = [0]
        for partial_file in self.pixels.parent.glob(f".{self.pixels.name}.*.partial"):
            with suppress(OSError):
                sizes.append(partial_file.stat().st_size)
        return max(sizes) // max(1, math.prod(self.shape[1:]))


def _named_error(error: OSError) -> str:
    return error.strerror or type(error).__name__


def blocks(shape: Sequence[int]) -> list[slice]:
    """Blocks of rows of an N x H x W x C canvas, which are decoded, written and checked together."""
    rows = max(1, min(BLOCK_ROWS, BLOCK_BYTES // math.prod(shape[1:])))
    return [slice(start, min(start + rows, shape[0])) for start in range(0, shape[0], rows)]
