"""Which rows of a data set make up a part of it: a validation split, or a few spread over all."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Separates this stream from the plan's, whose keys contain equally small seeds.
STREAM = 0x73706C6974


def stratified(label_N: NDArray[np.int64], fraction: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut rows into (train_rows, validation_rows), both ascending, with about `fraction` of every class in the second.

    A class of at least two samples keeps at least one in each part; a single sample stays in train. The cut depends on
    labels, fraction and seed only: NumPy keeps the raw bits of Philox stable across versions, but not shuffle().
    """
    assert 0 < fraction < 1
    bits = np.random.Philox(key=(STREAM << 64) | (seed % 2**64)).random_raw(len(label_N))
    validation_N = np.zeros(len(label_N), bool)
    for label in np.unique(label_N):
        row_M = np.flatnonzero(label_N == label)
        count = min(max(int(len(row_M) * fraction + 0.5), 1), len(row_M) - 1)
        validation_N[row_M[np.argsort(bits[row_M], kind="stable")][:count]] = True
    return np.flatnonzero(~validation_N), np.flatnonzero(validation_N)


def by_content(
    label_N: NDArray[np.int64], content_N: Sequence[tuple[int, int]], fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut rows into (train_rows, validation_rows) by what images contain, so that others may come and go.

    An image's content is hashed with the seed; validation has about `fraction` of all hashes. Equal images are on one
    side. A class of two different images or more has one in each part: where the hashes leave it none, those with its
    lowest or highest hash change sides, which images that come or go can undo.

    content_N: checksum and bytes of each image.
    """
    assert 0 < fraction < 1
    hashes = {content: _hash(content, seed) for content in dict.fromkeys(content_N)}
    hash_N = np.array([hashes[content] for content in content_N], np.uint64)
    validation_N = hash_N < np.uint64(int(fraction * 2**64))
    for label in np.unique(label_N):
        row_M = np.flatnonzero(label_N == label)
        own_M = hash_N[row_M]
        if own_M.min() == own_M.max():
            validation_N[row_M] = False
        elif not validation_N[row_M].any():
            validation_N[hash_N == own_M.min()] = True
        elif validation_N[row_M].all():
            validation_N[hash_N == own_M.max()] = False
    return np.flatnonzero(~validation_N), np.flatnonzero(validation_N)


def _hash(content: tuple[int, int], seed: int) -> int:
    """Return 64 bits."""
    return int.from_bytes(hashlib.sha256(f"{seed} {content[0]} {content[1]}".encode()).digest()[:8], "big")


def evenly_spaced(length: int, count: int) -> NDArray[np.int64]:
    """`count` positions spread over range(length), ascending and distinct; all of them if there are no more."""
    return np.linspace(0, length - 1, min(count, length)).astype(np.int64)
