"""Samples: the images of a split, with their names, labels and sizes.

Shape suffixes: N samples; size_N2 holds height and width.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from data_pipes.sources.images import FileImages, ImageStore
from data_pipes.sources.split import evenly_spaced

UNLABELLED = -1


# No slots: cached_property stores the fingerprint in the instance's __dict__.
@dataclass(frozen=True, kw_only=True)
class Samples:
    """One split of a data set. Row i of every array is sample i."""

    split: str
    """train, validation, test, evaluation, or unlabelled."""
    classes: tuple[str, ...]
    """Class names; the position is the label. Empty if the classes are unknown."""
    key_N: tuple[str, ...]
    """Stable name of each sample: its path below the root, or its row in the array."""
    label_N: NDArray[np.int64]
    """Labels; -1: unlabelled."""
    size_N2: NDArray[np.int32]
    """Height and width of the upright image, in pixels."""
    row_N: NDArray[np.int64]
    """Row of each sample in `images`, so that selections share one store."""
    images: ImageStore
    """The pixels."""

    def __post_init__(self) -> None:
        n = len(self.key_N)
        assert self.label_N.shape == (n,) and self.row_N.shape == (n,) and self.size_N2.shape == (n, 2)
        assert n == 0 or (self.row_N.min() >= 0 and self.row_N.max() < len(self.images))

    def __len__(self) -> int:
        return len(self.key_N)

    @property
    def labelled(self) -> bool:
        """Whether every sample has a label."""
        return bool((self.label_N != UNLABELLED).all())

    @property
    def common_size(self) -> tuple[int, int] | None:
        """Height and width of every image, in pixels; None where they differ or there is none."""
        if len(self) == 0 or (self.size_N2 != self.size_N2[0]).any():
            return None
        return int(self.size_N2[0, 0]), int(self.size_N2[0, 1])

    def contents(self) -> list[tuple[int, int]]:
        """Checksum and bytes of each image file, by which it is known wherever it lies; of an array, 0 bytes."""
        byte_N = self.images.byte_N[self.row_N] if isinstance(self.images, FileImages) else np.zeros(len(self), int)
        return list(zip(self.images.crc_N[self.row_N].tolist(), byte_N.tolist(), strict=True))

    def select(self, rows: NDArray[np.int64], *, split: str | None = None) -> Samples:
        """These rows, in this order, on the same store; `split` renames the split."""
        return replace(
            self,
            split=self.split if split is None else split,
            key_N=tuple(map(self.key_N.__getitem__, rows.tolist())),
            label_N=self.label_N[rows],
            size_N2=self.size_N2[rows],
            row_N=self.row_N[rows],
        )

    def spread(self, count: int) -> NDArray[np.int64]:
        """Rows of `count` samples spread over the split, which may be sorted by class; all if there are no more."""
        return evenly_spaced(len(self), count)

    def read(self, i: int, *, channels: int, reduce: int = 1) -> NDArray[np.uint8]:
        """Pixels of sample i, HxWxchannels uint8, upright. See ImageStore.read."""
        return self.images.read(int(self.row_N[i]), channels=channels, reduce=reduce)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of keys, labels, sizes, content checksums and class names, in order.

        The name of the split and the rows in the store are not included.
        """
        digest = hashlib.sha256(json.dumps([self.classes, self.key_N]).encode())
        # Byte order and width are fixed, for the same result on every machine.
        digest.update(self.label_N.astype("<i8").tobytes())
        digest.update(self.size_N2.astype("<i4").tobytes())
        digest.update(self.images.crc_N[self.row_N].astype("<u4").tobytes())
        return digest.hexdigest()
