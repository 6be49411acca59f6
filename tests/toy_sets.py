"""Data sets of a few images, as they lie on disk."""

from __future__ import annotations

import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
from PIL import Image

import reference
from data_pipes.sources.cifar import CIFAR_CLASSES

rng = np.random.default_rng(0)


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()


def write_idx(folder: Path, *, zipped: bool = False, n: int = 12) -> tuple[np.ndarray, np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    pixel, label = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8), np.arange(n, dtype=np.uint8) % 10
    for name, array in (("images-idx3", pixel), ("labels-idx1", label)):
        for prefix in ("train", "t10k"):
            data = idx_bytes(array)
            name_there = f"{prefix}-{name}-ubyte" + (".gz" if zipped else "")
            (folder / name_there).write_bytes(gzip.compress(data) if zipped else data)
    return pixel, label


def write_cifar(folder: Path, *, protocol: int = 2, n: int = 4) -> np.ndarray:
    folder.mkdir(parents=True, exist_ok=True)
    pixel = rng.integers(0, 256, (6, n, 3, 32, 32), dtype=np.uint8)
    for i, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        batch = {b"data": pixel[i].reshape(n, 3072), b"labels": [i, 9, 0, 1][:n], b"batch_label": b"x"}
        (folder / name).write_bytes(pickle.dumps(batch, protocol))
    meta = {b"label_names": [name.encode() for name in CIFAR_CLASSES], b"num_vis": 3072}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta, protocol))
    return pixel


def write_food11(folder: Path) -> None:
    """Eleven classes as the course of 2023 lays them out, with three unlabelled images."""
    numbers = [("training", n) for n in range(22)] + [("validation", n) for n in range(11)]
    names = [f"{split}/{n % 11}_{n // 11}" for split, n in numbers] + [f"test/{n:04}" for n in range(3)]
    for seed, name in enumerate(names):
        path = folder / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(reference.picture(70, 80, seed=seed)).save(path)
