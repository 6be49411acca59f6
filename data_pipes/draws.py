"""Uniform numbers that are a function of (seed, view, operator, sample).

Each operator has a Philox stream per view, so that a new operator does not change the draws of others. Row i of a draw
does not depend on the number of rows. Only `random_raw` is used: NumPy keeps that bit stream stable across versions,
but not its distributions (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from data_pipes.spec import Operator

Floats = npt.NDArray[np.float64]


def raw(seed: int, view: int, operator: Operator, count: int, attempt: int = 0) -> npt.NDArray[np.uint64]:
    """`count` 64-bit words of one stream. attempt: number of the repetition in rejection sampling, at most 65,535."""
    stream = (view << 32) | (int(operator) << 16) | attempt
    key = np.array([seed, stream], dtype=np.uint64)
    return np.asarray(np.random.Philox(key=key).random_raw(count), dtype=np.uint64)


def uniform(seed: int, view: int, operator: Operator, shape: tuple[int, int], attempt: int = 0) -> Floats:
    """Numbers in [0, 1) with 53 random bits, one row per sample."""
    words = raw(seed, view, operator, shape[0] * shape[1], attempt)
    return (words >> np.uint64(11)).astype(np.float64).reshape(shape) * 2.0**-53


def permutation(seed: int, view: int, operator: Operator, count: int) -> npt.NDArray[np.int64]:
    """A random permutation of range(count)."""
    return np.argsort(raw(seed, view, operator, count), kind="stable").astype(np.int64)
