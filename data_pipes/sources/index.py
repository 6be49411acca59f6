"""The index of image files: one pass that finds bad files before a run starts, stored in the cache.

`examination` looks at one file, `index_work` shares a pass out, `index_files` keeps its result.

Shape suffixes: N files; size_N2 holds height and width.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from configs import resources, stopping
from configs.errors import InputError
from configs.home import cache_folder
from configs.stopping import StoppedError
from data_pipes.sources import examination, file_states, index_files, index_work
from data_pipes.sources.image_files import warn_once
from data_pipes.sources.images import FileImages
from data_pipes.sources.index_files import Entries, Entry, Place
from data_pipes.sources.index_work import Progress, Work, examined

# Part of the key of the cache: increase it whenever the stored content or the criteria for bad files change.
FORMAT = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Index:
    """Index entries of N files."""

    root: Path
    path_N: tuple[str, ...]
    byte_N: NDArray[np.int64]
    crc_N: NDArray[np.uint32]
    size_N2: NDArray[np.int32]
    """Height and width of the upright image; 0 for bad files."""
    orientation_N: NDArray[np.uint8]
    """EXIF orientation, 1 to 8."""
    reason_N: NDArray[np.object_]
    """Why a file is bad; empty for good ones."""

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Which of the N files are good."""
        return np.asarray(self.reason_N == "")

    def images(self) -> FileImages:
        """The files as a store of images, including bad ones so that rows keep their numbers."""
        return FileImages(self.root, self.path_N, self.byte_N, self.crc_N, self.orientation_N)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pass:
    """A pass over N files, whose names, sizes and times are known; none has been opened yet."""

    root: Path
    paths: Sequence[str]
    digest_N2: NDArray[np.uint64]
    place: Place

    @classmethod
    def over(cls, root: Path, paths: Sequence[str]) -> Pass:
        """The pass over files, which are relative to `root`. InputError: a path is absolute or contains `..`."""
        for path in paths:
            if path.startswith("/") or ".." in path.split("/"):
                raise InputError(f"{path!r} does not lie below {root}; paths are relative and without '..'")
        root = root.resolve()
        digest_N2 = file_states.digests(root, paths)
        identity = json.dumps([FORMAT, examination.formats(), examination.PIXEL_LIMIT, str(root)])
        return cls(root=root, paths=paths, digest_N2=digest_N2, place=Place.of(cache_folder(), identity, digest_N2))

    def publish(self) -> Path | None:
        """Write down the work of this pass for processes that `assist`; None: it has little or none."""
        if self.place.file.exists():
            return None
        known_N = index_files.fill_known(Entries.empty(self.digest_N2), self.place)
        work = self._work(known_N)
        if work.count <= index_work.FILES_PER_BLOCK:
            return None
        try:
            work.publish(known_N)
        except OSError:  # `run` says so
            return None
        return self.place.parts

    def run(self, threads: int = 0) -> Index:
        """See `scan`."""
        entries = index_files.read(self.place.file, len(self.paths))
        if entries is None:
            with examination.strict_pillow():
                entries = self._complete(threads)
        return _index(self.root, self.paths, entries)

    def _work(self, known_N: NDArray[np.bool_]) -> Work:
        return Work.of(self.place.parts, self.root, self.paths, self.digest_N2, known_N)

    def _complete(self, threads: int) -> Entries:
        """The entries of all files, filled in from the cache as far as it goes, and kept there."""
        entries = Entries.empty(self.digest_N2)
        known_N = index_files.fill_known(entries, self.place)
        work = self._work(known_N)
        if work.count > index_work.FILES_PER_BLOCK:
            self._in_blocks(work, threads)
            work.collect(entries, known_N)
            # In this order: another process that was faster writes the whole list, and then removes the blocks.
            if (made := index_files.read(self.place.file, len(self.paths))) is not None:
                return made
        rest = np.flatnonzero(~known_N)  # few, or the cache cannot be written to
        with ThreadPoolExecutor(threads or resources.thread_share()) as pool:
            paths, progress = [self.paths[row] for row in rest.tolist()], Progress(self.root, len(rest))
            found = examined(self.root, paths, _examine_unless_stopped, pool, progress)
        entries.put(rest, Entries.of(self.digest_N2[rest], found), np.arange(len(rest)))
        self._keep(entries)
        return entries

    def _in_blocks(self, work: Work, threads: int) -> None:
        try:
            work.forget_unreadable()
            work.carry_out(
                examination.examine, threads, done=lambda: bool(stopping.requested()) or self.place.file.exists()
            )
        except OSError as error:
            warn_once(f"the index cannot be kept in {work.folder} ({error}); a stop loses what was checked")
        if reason := stopping.requested():
            raise StoppedError(f"stopped: {reason}. The same command goes on with the files that are not checked yet")

    def _keep(self, entries: Entries) -> None:
        # A file that could not be opened may be readable next time, with unchanged size and time.
        whole = bool(entries.readable.all())
        worthwhile = len(entries) > 1 if whole else len(entries) > index_work.FILES_PER_BLOCK
        if worthwhile and index_files.keep(entries, self.place.file if whole else self.place.partial) and whole:
            self.place.sweep()


def scan(root: Path, paths: Sequence[str], threads: int = 0) -> Index:
    """Check every file (`paths` are relative to `root`) by decoding it, as far as the cache does not know it.

    Files that were added or have changed are checked, and no others. Of many files, the work is shared with all
    processes that scan the same ones or `assist`, and goes on where a killed process was. A single file is not worth a
    place in the cache. threads: 0 is this process's share of the cores. Raises InputError for a path that is absolute
    or contains `..`; StoppedError if the process is asked to stop.
    """
    return Pass.over(root, paths).run(threads)


def assist(folder: Path, threads: int = 0) -> None:
    """Take a share of the work that another process has published, if this process sees that folder.

    It ends when all is done, or when this process is asked to stop, without an error: `scan` raises it.
    """
    work = Work.open(folder)
    if work is None:
        return
    with examination.strict_pillow(), suppress(OSError):  # the other process says what it cannot write
        work.carry_out(examination.examine, threads, lambda: _asked_to_stop() or not folder.is_dir())


def _examine_unless_stopped(path: Path) -> Entry:
    """Make the entry of a file. StoppedError: a stop is requested."""
    stopping.heed()
    return examination.examine(path)


def _asked_to_stop() -> bool:
    return stopping.requested() is not None


def table(root: Path, paths: Sequence[str], entries: list[Entry]) -> Index:
    """The index of these files, from an entry of each."""
    return _index(root, paths, Entries.of(np.zeros((len(paths), 2), np.uint64), entries))


def _index(root: Path, paths: Sequence[str], entries: Entries) -> Index:
    return Index(
        root=root,
        path_N=tuple(paths),
        byte_N=entries.byte_N,
        crc_N=entries.crc_N,
        size_N2=entries.size_N2,
        orientation_N=entries.orientation_N,
        reason_N=entries.reason_N,
    )
