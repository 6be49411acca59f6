"""Files of the index in the cache: what is known of each image file, by its name, size and time.

    index-ROOT-KEY.npz          entries of a list of files; KEY: their names, sizes and times
    index-ROOT-KEY.partial.npz  the same, where some files could not be opened and are tried again next time
    index-ROOT-KEY.parts/       blocks of a list in work, one file each; see `index_work`

Every entry carries a digest of the name, size and time of its file, so that an entry from any of these files serves
again for as long as that file stays as it is. N files, M of them in a block.
"""

from __future__ import annotations

import hashlib
import io
import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from configs.files import write_atomically
from data_pipes.sources.image_files import warn_once

logger = logging.getLogger(__name__)
UNREADABLE = "cannot be read"
STALE_SECONDS = 24 * 3600
KEPT_LISTS = 16  # of one root; every change of a data set leaves one


class Entry(NamedTuple):
    """Index entry of a file; a good file has no reason."""

    bytes: int = 0
    crc: int = 0
    height: int = 0
    width: int = 0
    orientation: int = 1
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entries:
    """Entries of N files."""

    digest_N2: NDArray[np.uint64]
    """Digest of each file's name, size and time."""
    byte_N: NDArray[np.int64]
    crc_N: NDArray[np.uint32]
    size_N2: NDArray[np.int32]
    """Height and width of the upright image; 0 for bad files."""
    orientation_N: NDArray[np.uint8]
    """EXIF orientation, 1 to 8."""
    reason_N: NDArray[np.object_]
    """Why a file is bad; empty for good ones. Objects: as text, one long reason would take its length in every row."""

    def __len__(self) -> int:
        return len(self.digest_N2)

    @classmethod
    def empty(cls, digest_N2: NDArray[np.uint64]) -> Self:
        """Entries without content for files of these digests."""
        n = len(digest_N2)
        return cls(
            digest_N2=digest_N2,
            byte_N=np.zeros(n, np.int64),
            crc_N=np.zeros(n, np.uint32),
            size_N2=np.zeros((n, 2), np.int32),
            orientation_N=np.ones(n, np.uint8),
            reason_N=np.full(n, "", object),
        )

    @classmethod
    def of(cls, digest_N2: NDArray[np.uint64], entries: Sequence[Entry]) -> Self:
        """The entries of files of these digests."""
        return cls(
            digest_N2=digest_N2,
            byte_N=np.array([e.bytes for e in entries], np.int64),
            crc_N=np.array([e.crc for e in entries], np.uint32),
            size_N2=np.array([(e.height, e.width) for e in entries], np.int32).reshape(-1, 2),
            orientation_N=np.array([e.orientation for e in entries], np.uint8),
            reason_N=np.array([e.reason for e in entries], object),
        )

    @property
    def readable(self) -> NDArray[np.bool_]:
        """Which files could be opened, be they good or bad."""
        readable_N = np.ones(len(self), bool)
        for row in np.flatnonzero(self.reason_N != ""):
            readable_N[row] = not self.reason_N[row].startswith(UNREADABLE)
        return readable_N

    def put(self, rows: NDArray[np.int64], others: Entries, chosen: NDArray[np.int64]) -> None:
        """Copy the `chosen` rows of other entries into these rows."""
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(others, field.name)[chosen]

    def write(self, file: Path) -> None:
        """Write atomically, so that two processes at once leave a whole file. OSError: the disk refuses."""
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        reason_N = columns.pop("reason_N")
        bad_M = np.flatnonzero(reason_N != "")
        content = io.BytesIO()
        np.savez(content, **columns, bad_M=bad_M, reason_M=reason_N[bad_M].astype(np.str_))
        write_atomically(file, content.getvalue())


KINDS = {
    "digest_N2": "uint64",
    "byte_N": "int64",
    "crc_N": "uint32",
    "size_N2": "int32",
    "orientation_N": "uint8",
    "bad_M": "int64",
    "reason_M": "str",
}


def read(file: Path, count: int | None = None) -> Entries | None:
    """The entries in a file; None if there is no such file, or it is damaged or holds another number of them."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            columns: dict[str, NDArray[Any]] = {name: stored[name] for name in KINDS}
        fault = _fault(columns, count)
    except FileNotFoundError:
        return None
    except Exception as error:  # a damaged archive may raise nearly any error
        fault = str(error) or type(error).__name__
    if fault:
        logger.warning("%s is damaged (%s); its files are checked again", file, fault)
        return None
    reason_N = np.full(len(columns["byte_N"]), "", object)
    reason_N[columns.pop("bad_M")] = columns.pop("reason_M").astype(object)
    return Entries(reason_N=reason_N, **columns)


def _fault(columns: dict[str, NDArray[Any]], count: int | None) -> str:
    n = len(columns["byte_N"]) if count is None else count
    for name, kind in KINDS.items():
        column = columns[name]
        rows = n if name.endswith(("_N", "_N2")) else len(columns["bad_M"])
        shape = (rows, 2) if name.endswith("2") else (rows,)
        if column.shape != shape or not column.dtype.name.startswith(kind):
            return f"column {name}"
    bad_M = columns["bad_M"]
    return "column bad_M" if len(bad_M) and not 0 <= bad_M.min() <= bad_M.max() < n else ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the entries of a list of files are in the cache."""

    folder: Path
    root: str
    """Hash of the root and of everything else that entries depend on."""
    key: str
    """Hash of names, sizes and times of the files."""

    @classmethod
    def of(cls, folder: Path, identity: str, digest_N2: NDArray[np.uint64]) -> Self:
        """The place of files of these digests, in a cache folder."""
        root = hashlib.sha256(identity.encode()).hexdigest()[:12]
        return cls(folder, root, hashlib.sha256(digest_N2.tobytes()).hexdigest()[:20])

    @property
    def file(self) -> Path:
        """The file of the whole list."""
        return self.folder / f"index-{self.root}-{self.key}.npz"

    @property
    def partial(self) -> Path:
        """The file of a list of which some could not be opened."""
        return self.file.with_suffix(".partial.npz")

    @property
    def parts(self) -> Path:
        """The folder of the blocks in work."""
        return self.file.with_suffix(".parts")

    def known(self) -> Iterator[Entries]:
        """Entries of other lists of files below the same root, from the newest file to the oldest."""
        found: list[tuple[float, Path]] = []
        for pattern in (f"index-{self.root}-*.npz", f"index-{self.root}-*.parts/*.npz"):
            for path in self.folder.glob(pattern):
                with suppress(OSError):
                    found.append((path.stat().st_mtime, path))
        for _, path in sorted(found, reverse=True):
            entries = None if path == self.file else read(path)
            if entries is not None:
                yield entries

    def sweep(self) -> None:
        """Remove what this list no longer needs, leftovers of others after a day, and the oldest lists of many."""
        for pattern in (f"index-{self.root}-*.parts", f"index-{self.root}-*.partial.npz"):
            for path in self.folder.glob(pattern):
                with suppress(OSError):
                    if path in (self.parts, self.partial) or time.time() - path.stat().st_mtime > STALE_SECONDS:
                        shutil.rmtree(path) if path.is_dir() else path.unlink()
        with suppress(OSError):  # another process may be removing them
            whole = [path for path in self.folder.glob(f"index-{self.root}-*.npz") if ".partial" not in path.name]
            for path in sorted(whole, key=lambda path: path.stat().st_mtime)[:-KEPT_LISTS]:
                path.unlink()


def fill_known(entries: Entries, place: Place) -> NDArray[np.bool_]:
    """Fill in the entries that the cache knows from earlier lists; return which of the N rows are now known."""
    known_N = np.zeros(len(entries), bool)
    if len(entries) == 0:
        return known_N
    order_N = np.argsort(entries.digest_N2[:, 0], kind="stable")
    sorted_N = entries.digest_N2[order_N, 0]
    for others in place.known():
        position = np.minimum(np.searchsorted(sorted_N, others.digest_N2[:, 0]), len(entries) - 1)
        rows = order_N[position]
        usable = (entries.digest_N2[rows] == others.digest_N2).all(axis=1) & others.readable & ~known_N[rows]
        chosen = np.flatnonzero(usable)
        entries.put(rows[chosen], others, chosen)
        known_N[rows[chosen]] = True
        if known_N.all():
            break
    return known_N


def keep(entries: Entries, file: Path) -> bool:
    """Write entries into the cache; False, with a warning, if it cannot be written to."""
    try:
        entries.write(file)
    except OSError as error:
        warn_once(f"the index cannot be kept in {file.parent} ({error}); the files are checked again next time")
        return False
    return True
