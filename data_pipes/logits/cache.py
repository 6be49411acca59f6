"""Teacher logits on disk: all samples of a training split, view by view, in blocks of rows with checksums.

    FOLDER/manifest.json                  shape, codec and identity in plain text, and the key, their SHA-256
    FOLDER/view-0003/block-00012.logits   key, view, number and CRC-32 of the block, and encoded rows
    FOLDER/view-0003.json                 the CRC-32 of every block, written last: a view without it is not complete
    FOLDER/locks                          a locked byte for each block in work; the kernel releases it with the process

A row is a position among the samples; the caller decides which sample it belongs to. Files are replaced atomically: a
full disk is an OSError and costs one block. Any number of processes may fill a cache; where files cannot be locked they
do the same work, and the last one's blocks are kept. N samples, R of them in a block, K classes.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from configs.errors import InputError
from data_pipes.logits.byte_locks import ByteLocks, sweep
from data_pipes.logits.codec import FORMAT, HEADER, Codec, DamageError, Encoded, Floats, seal, unseal
from data_pipes.logits.manifest import MAKE, Layout, as_json, differences, listed, load, put, read_layout, refuse

ROWS_PER_BLOCK = 4096
REPAIR = "`python -m train.cache ... --repair` mends it"


class Place(NamedTuple):
    """A file of a view."""

    view: int
    block: int | None
    """None: the view's manifest."""


class LogitCache:
    """A cache in a folder: `create` it to write, `open` it to read."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        self.folder, self.layout = folder, layout
        step, count = layout.rows_per_block, layout.samples
        self.blocks = [slice(start, min(start + step, count)) for start in range(0, count, step)]
        self._row_bytes = layout.codec.row_bytes(layout.classes)
        self._key: str = layout.content["key"]
        self._locks = ByteLocks(folder / "locks")

    @classmethod
    def create(
        cls,
        folder: Path,
        identity: Mapping[str, Any],
        *,
        samples: int,
        classes: int,
        codec: Codec,
        rows_per_block: int = ROWS_PER_BLOCK,
    ) -> LogitCache:
        """A new cache, or the existing one, which keeps its own rows_per_block.

        InputError: the existing one is damaged, or of another identity, shape or codec.
        """
        wanted = Layout(
            identity=as_json(identity), samples=samples, classes=classes, codec=codec, rows_per_block=rows_per_block
        )
        manifest = folder / "manifest.json"
        with ByteLocks(folder / "locks").hold(0, wait=True) as held:
            sweep(manifest, held)
            if not manifest.exists():
                put(manifest, wanted.content)
        layout = read_layout(manifest)
        refuse(folder, differences(layout.shape, wanted.shape) + differences(layout.identity, wanted.identity))
        return cls(folder, layout)

    @classmethod
    def open(cls, folder: Path, identity: Mapping[str, Any]) -> LogitCache:
        """The existing cache of this identity. InputError names all fields that differ, or what is damaged."""
        layout = read_layout(folder / "manifest.json")
        refuse(folder, differences(layout.identity, as_json(identity)))
        return cls(folder, layout)

    @property
    def views(self) -> list[int]:
        """Complete views, ascending."""
        names = (re.fullmatch(r"view-(\d{4}|[1-9]\d{4,})\.json", path.name) for path in self.folder.iterdir())
        return sorted(int(name[1]) for name in names if name)

    @property
    def nbytes_per_view(self) -> int:
        """Bytes of a view's blocks."""
        return self.layout.samples * self._row_bytes + len(self.blocks) * HEADER.size

    def missing(self, view: int) -> list[int]:
        """Blocks of a view without a file of the right size."""
        return [block for block in range(len(self.blocks)) if not self._present(view, block)]

    @contextmanager
    def claim(self, view: int, block: int) -> Iterator[bool]:
        """Whether this process should compute the block: it is missing, and no other process is computing it.

        The locks work between processes only: one cache object and one thread of each may claim blocks.
        """
        with self._locks.hold(self._number(view, block)) as held:
            sweep(self._path(view, block), held)
            yield held is not False and not self._present(view, block)

    def write(self, view: int, block: int, logit_RK: Floats) -> None:
        """Store a claimed block. InputError names positions of NaN and infinity; an OSError leaves all unchanged."""
        rows = self.blocks[block]
        count = rows.stop - rows.start
        assert logit_RK.shape == (count, self.layout.classes)
        with np.errstate(over="ignore"):  # values beyond float32 are refused as well
            wrong = rows.start + np.flatnonzero(~np.isfinite(logit_RK.astype(np.float32)).all(axis=1))
        if len(wrong):
            raise InputError(
                f"the teacher's logits of view {view} are NaN or infinite for {len(wrong)} samples, "
                f"at positions {listed(map(str, wrong), ', ')}; nothing of block {block} was written"
            )
        payload = self.layout.codec.encode(logit_RK)
        put(self._path(view, block), seal(payload, bytes.fromhex(self._key), view, block, count))

    def finish(self, view: int) -> bool:
        """Mark a view as complete if all its blocks are intact. False: some are missing or damaged (see `damage`)."""
        if self.missing(view):
            return False
        crcs: list[int] = []
        with self._locks.hold(self._number(view, len(self.blocks)), wait=True) as held:
            sweep(self._path(view), held)
            if self._faults(view, None, lambda rows, payload: crcs.append(zlib.crc32(payload))):
                return False
            put(self._path(view), {"format": FORMAT, "key": self._key, "view": view, "crc_32": crcs})
        return True

    def read(self, view: int) -> Encoded:
        """All N rows of a complete view. InputError names damaged files, with blocks and positions."""
        codec, classes = self.layout.codec, self.layout.classes
        encoded = codec.empty(self.layout.samples, classes)

        def fill(rows: slice, payload: memoryview) -> None:
            part = codec.decode(payload, rows.stop - rows.start, classes)
            for whole, array in zip(encoded.arrays, part.arrays, strict=True):
                whole[rows] = array

        if view not in self.views:
            raise InputError(f"{self.folder} has views {self.views} and no view {view}; {MAKE}")
        self.refuse(self._check(view, fill))
        return encoded

    def refuse(self, found: Mapping[Place, str]) -> None:
        """Raise InputError that names what `damage` found, with blocks and positions, if it found anything."""
        if found:
            views = listed(map(str, sorted({place.view for place in found})), ", ")
            named = listed((f"{self._named(*place)}: {reason}" for place, reason in found.items()), "; ")
            raise InputError(f"{self.folder} is damaged in {len(found)} files of view {views}: {named}. {REPAIR}")

    def damage(self, views: Iterable[int]) -> dict[Place, str]:
        """Damaged files of these views, with reasons. To repair: `discard` them, write missing blocks, `finish`."""
        found: dict[Place, str] = {}
        for view in views:
            found |= self._check(view, lambda rows, payload: None)
        return found

    def discard(self, places: Iterable[tuple[int, int | None]]) -> None:
        """Remove these files; their views are no longer complete."""
        for view, block in places:
            self._path(view).unlink(missing_ok=True)  # first, so that a view marked as complete never lacks a block
            if block is not None:
                self._path(view, block).unlink(missing_ok=True)

    def _check(self, view: int, use: Callable[[slice, memoryview], None]) -> dict[Place, str]:
        """Faults of a view and its manifest; `use` is called with the rows and payload of each intact block."""
        try:
            return self._faults(view, self._checksums(view), use)
        except FileNotFoundError:
            own = "missing"
        except DamageError as error:
            own = str(error)
        return {Place(view, None): own, **self._faults(view, None, use)}

    def _faults(self, view: int, crcs: list[int] | None, use: Callable[[slice, memoryview], None]) -> dict[Place, str]:
        faults: dict[Place, str] = {}
        for block, rows in enumerate(self.blocks):
            try:
                payload = self._payload(view, block)
                if crcs is not None and zlib.crc32(payload) != crcs[block]:
                    raise DamageError(f"not the block that {self._path(view).name} names")
                use(rows, payload)
            except DamageError as error:
                faults[Place(view, block)] = str(error)
        for path in sorted(self._path(view, 0).parent.glob("block-*.logits")):
            name = re.fullmatch(r"block-(\d{5}|[1-9]\d{5,})\.logits", path.name)
            if name and int(name[1]) >= len(self.blocks):
                faults[Place(view, int(name[1]))] = f"extra: a view has {len(self.blocks)} blocks"
        return faults

    def _payload(self, view: int, block: int) -> memoryview:
        rows = self.blocks[block].stop - self.blocks[block].start
        try:
            data = self._path(view, block).read_bytes()
        except FileNotFoundError:
            raise DamageError("missing") from None
        except OSError as error:
            raise DamageError(error.strerror or type(error).__name__) from error
        return unseal(data, rows * self._row_bytes, bytes.fromhex(self._key), view, block, rows)

    def _checksums(self, view: int) -> list[int]:
        """The CRC-32 of each block in the manifest of a view."""
        content = load(self._path(view))
        for name, right in (("format", FORMAT), ("key", self._key), ("view", view)):
            if content.get(name) != right:
                raise DamageError(f"{name} is {content.get(name)!r} and should be {right!r}")
        crcs = content.get("crc_32")
        if not isinstance(crcs, list) or len(crcs) != len(self.blocks):
            raise DamageError(f"not a manifest of {len(self.blocks)} blocks")
        return crcs

    def _present(self, view: int, block: int) -> bool:
        path, rows = self._path(view, block), self.blocks[block]
        try:
            return path.stat().st_size == HEADER.size + (rows.stop - rows.start) * self._row_bytes
        except OSError:
            return False

    def _path(self, view: int, block: int | None = None) -> Path:
        name = f"view-{view:04d}"
        return self.folder / (f"{name}.json" if block is None else f"{name}/block-{block:05d}.logits")

    def _number(self, view: int, block: int) -> int:
        """Number of the byte to lock: one for each block, one for the view's manifest; 0 is for the cache's own."""
        return 1 + view * (len(self.blocks) + 1) + block

    def _named(self, view: int, block: int | None) -> str:
        path = self._path(view, block).relative_to(self.folder)
        if block is None or block >= len(self.blocks):
            return str(path)
        return f"{path} (block {block}, positions {self.blocks[block].start} to {self.blocks[block].stop - 1})"
