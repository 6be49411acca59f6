"""Checking many files in blocks, shared out among threads, processes and nodes that see one cache folder.

    index-ROOT-KEY.parts/work.npz   names of all files, their digests, and which of them nothing is known of
    index-ROOT-KEY.parts/locks      a locked byte for each block in work; the kernel releases it with the process
    index-ROOT-KEY.parts/00012.npz  the entries of a checked block

Blocks are written as they are finished: a killed process loses the one that it was at. Where files cannot be locked,
processes begin at different blocks and may do some of them twice. N files.
"""

from __future__ import annotations

import io
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from configs import resources
from configs.files import write_atomically
from configs.heartbeat import Heartbeat
from data_pipes.logits.byte_locks import ByteLocks
from data_pipes.sources import index_files
from data_pipes.sources.index_files import Entries, Entry

logger = logging.getLogger(__name__)
FILES_PER_BLOCK = 1024
FILES_PER_JOB = 8
WAIT_SECONDS = 0.2
Examine = Callable[[Path], Entry]


class Progress:
    """Says now and then how many files are checked."""

    def __init__(self, root: Path, count: int, written: Callable[[], int] = lambda: 0) -> None:
        """written: number of files in blocks that are finished, by whatever process."""
        self._heartbeat, self._written, self._block = Heartbeat(logger, f"{root}: checked", count), written, 0
        self._heartbeat.beat(written())

    def add(self, files: int) -> None:
        """Count files that were checked here."""
        self._block += files
        if self._heartbeat.due:
            self._heartbeat.beat(self._written() + self._block)

    def finish_block(self) -> None:
        """From now on, `written` counts the files of the last block."""
        self._block = 0


def examined(
    root: Path, paths: Sequence[str], examine: Examine, pool: ThreadPoolExecutor, progress: Progress
) -> list[Entry]:
    """The entries of files, made in the threads of a pool."""
    parts = [paths[start : start + FILES_PER_JOB] for start in range(0, len(paths), FILES_PER_JOB)]
    entries: list[Entry] = []
    for made in pool.map(lambda part: [examine(root / path) for path in part], parts):
        entries += made
        progress.add(len(made))
    return entries


@dataclass(frozen=True, slots=True)
class Work:
    """A list of files to check, block by block."""

    folder: Path
    """Where the blocks are written."""
    root: Path
    paths: Sequence[str]
    digest_N2: NDArray[np.uint64]
    row_B: list[NDArray[np.int64]]
    """The rows to check of each block; blocks without such rows have none."""

    @classmethod
    def of(
        cls, folder: Path, root: Path, paths: Sequence[str], digest_N2: NDArray[np.uint64], known_N: NDArray[np.bool_]
    ) -> Self:
        """The work on files of which nothing is known."""
        starts = range(0, len(paths), FILES_PER_BLOCK)
        rows = [start + np.flatnonzero(~known_N[start : start + FILES_PER_BLOCK]) for start in starts]
        return cls(folder, root, paths, digest_N2, rows)

    @classmethod
    def open(cls, folder: Path) -> Self | None:
        """The work that another process has published in a folder; None where there is none, or it is done."""
        try:
            with np.load(folder / "work.list", allow_pickle=False) as stored:
                root, *paths = _split(stored["names"].tobytes())
                return cls.of(folder, Path(root), paths, stored["digest_N2"], stored["known_N"])
        except (OSError, ValueError, KeyError):
            return None

    @property
    def count(self) -> int:
        """Files to check."""
        return sum(map(len, self.row_B))

    def publish(self, known_N: NDArray[np.bool_]) -> None:
        """Write down the work for other processes. OSError: the cache cannot be written to."""
        names = np.frombuffer(_joined([str(self.root), *self.paths]), np.uint8)
        content = io.BytesIO()
        np.savez_compressed(content, names=names, digest_N2=self.digest_N2, known_N=known_N)
        write_atomically(self.folder / "work.list", content.getvalue())

    def forget_unreadable(self) -> None:
        """Remove blocks of an earlier process in which a file could not be opened: perhaps it can be now."""
        for block in range(len(self.row_B)):
            entries = index_files.read(self._file(block))
            if entries is not None and not entries.readable.all():
                self._file(block).unlink(missing_ok=True)

    def left(self) -> list[int]:
        """Blocks that are to be checked and not written yet."""
        there = {path.name for path in self.folder.glob("*.npz")}
        return [block for block, rows in enumerate(self.row_B) if len(rows) and self._file(block).name not in there]

    def carry_out(self, examine: Examine, threads: int, done: Callable[[], bool]) -> bool:
        """Check blocks until none is left; False: stopped by `done`. Blocks in work elsewhere are waited for.

        examine: makes the entry of a file, in several threads at once. threads: 0 is this process's share
        of the cores.
        """
        locks = ByteLocks(self.folder / "locks")
        progress = Progress(self.root, self.count, lambda: self.count - sum(len(self.row_B[b]) for b in self.left()))
        with ThreadPoolExecutor(threads or resources.thread_share()) as pool:
            while left := self.left():
                taken = 0
                for block in _from_a_place_of_its_own(left):
                    if done():
                        return False
                    with locks.hold(block) as held:
                        # In this order: blocks leave when the whole list is written.
                        if held is not False and not self._file(block).exists() and not done():
                            self._check(block, examine, pool, progress)
                            taken += 1
                if not taken:
                    time.sleep(WAIT_SECONDS)
        return True

    def collect(self, entries: Entries, known_N: NDArray[np.bool_]) -> None:
        """Copy what the blocks hold into the entries of the whole list, and mark these rows as known."""
        for block, rows in enumerate(self.row_B):
            found = index_files.read(self._file(block), len(rows)) if len(rows) else None
            if found is not None and np.array_equal(found.digest_N2, self.digest_N2[rows]):
                entries.put(rows, found, np.arange(len(rows)))
                known_N[rows] = True

    def _check(self, block: int, examine: Examine, pool: ThreadPoolExecutor, progress: Progress) -> None:
        rows = self.row_B[block]
        entries = examined(self.root, [self.paths[row] for row in rows.tolist()], examine, pool, progress)
        Entries.of(self.digest_N2[rows], entries).write(self._file(block))
        progress.finish_block()

    def _file(self, block: int) -> Path:
        return self.folder / f"{block:05d}.npz"


def _from_a_place_of_its_own(blocks: list[int]) -> list[int]:
    """The blocks, from a random one on: without locks, processes then seldom meet."""
    start = secrets.randbelow(len(blocks))
    return blocks[start:] + blocks[:start]


def _joined(names: Sequence[str]) -> bytes:
    return "\0".join(names).encode("utf-8", "surrogateescape")


def _split(data: bytes) -> list[str]:
    return data.decode("utf-8", "surrogateescape").split("\0")
