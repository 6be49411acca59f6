"""Digests of the states of files, by which the index knows a file again without opening it. N files."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DIGEST_BYTES = 16
STAT_BLOCK = 1024
SLOW_STAT_SECONDS = 5e-5
"""A local file system answers in a twentieth of this; a network file system takes ten times as long."""
STAT_THREADS = 64  # they wait, and compute next to nothing


def digests(root: Path, paths: Sequence[str]) -> NDArray[np.uint64]:
    """Digest of the name, size and time of each file, N x 2; with the targets of links.

    A new target may have the size and time of the old one, so the real path of each folder belongs to it as well.
    """
    folders = {path.rpartition("/")[0] for path in paths}
    real = {folder: os.path.realpath(root / folder) for folder in folders}
    states: list[tuple[int, int, str]] = []
    first, rest = paths[:STAT_BLOCK], paths[STAT_BLOCK:]
    started = time.perf_counter()
    states += _states(root, first)
    slow = time.perf_counter() - started > SLOW_STAT_SECONDS * len(first)
    blocks = [rest[start : start + STAT_BLOCK] for start in range(0, len(rest), STAT_BLOCK)]
    with ThreadPoolExecutor(STAT_THREADS if slow else 1) as pool:
        for found in pool.map(lambda block: _states(root, block), blocks):
            states += found
    packed = bytearray()
    for path, (size, time_ns, target) in zip(paths, states, strict=True):
        text = f"{path}\0{real[path.rpartition('/')[0]]}\0{size}\0{time_ns}\0{target}"
        packed += hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=DIGEST_BYTES).digest()
    return np.frombuffer(bytes(packed), "<u8").reshape(-1, 2).copy()


def _states(root: Path, paths: Sequence[str]) -> list[tuple[int, int, str]]:
    prefix = f"{root}{'' if str(root).endswith(os.sep) else os.sep}"
    return [_state(prefix + path) for path in paths]


def _state(path: str) -> tuple[int, int, str]:
    """Size and time of a file, and its real path if `path` is a link; -1 if it is missing."""
    try:  # a million names, no Path for each
        state, target = os.lstat(path), ""
        if stat.S_ISLNK(state.st_mode):
            state, target = os.stat(path), os.path.realpath(path)  # noqa: PTH116
    except OSError:
        return -1, -1, ""
    return state.st_size, state.st_mtime_ns, target
