"""Samples: which images a split has, what they are called, and what they show.

Shape suffixes: N samples; size_N2 holds height and width.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from data_pipes.sources.images import ImageStore
from data_pipes.sources.split import evenly_spaced

UNLABELLED = -1


# No slots: the fingerprint is kept in the instance's __dict__.
@dataclass(frozen=True, kw_only=True)
class Samples:
    """One split of a data set. Row i of every array is sample i."""

    split: str
    """train, validation, test, evaluation, or unlabelled."""
    classes: tuple[str, ...]
    """Class names; their position is the label. Empty when the classes are unknown."""
    key_N: tuple[str, ...]
    """The stable identity of a sample: its path below the root, or its row in the array as text."""
    label_N: NDArray[np.int64]
    """Labels; -1 is unlabelled."""
    size_N2: NDArray[np.int32]
    """Height and width of the upright image, in pixels."""
    row_N: NDArray[np.int64]
    """The row of each sample in `images`, so that selections share one store."""
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

    def select(self, rows: NDArray[np.int64], *, split: str | None = None) -> Samples:
        """These rows, in this order, on the same store; under another split's name when one is given."""
        return replace(
            self,
            split=self.split if split is None else split,
            key_N=tuple(self.key_N[row] for row in rows),
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
        """SHA-256 of what the samples are: keys, labels, sizes, content checksums and class names, in order.

        The split's name and the position in the store do not enter.
        """
        digest = hashlib.sha256(json.dumps([self.classes, self.key_N]).encode())
        # Fixed byte order and width: the same on every machine.
        digest.update(self.label_N.astype("<i8").tobytes())
        digest.update(self.size_N2.astype("<i4").tobytes())
        digest.update(self.images.crc_N[self.row_N].astype("<u4").tobytes())
        return digest.hexdigest()
