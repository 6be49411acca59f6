"""Which rows of a data set make up a part of it: a validation split, or a few spread over all."""

from __future__ import annotations

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


def evenly_spaced(length: int, count: int) -> NDArray[np.int64]:
    """`count` positions spread over range(length), ascending and distinct; all of them if there are no more."""
    return np.linspace(0, length - 1, min(count, length)).astype(np.int64)
