"""Data sets that are one array of small images: what their readers share, and scikit-learn's digits.

Shape suffixes: N images, H height, W width, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from configs.errors import InputError, UsageError
from data_pipes.sources.image_files import some

Part = Literal["train", "test"]

DIGIT_CLASSES = tuple("0123456789")
LARGEST = 2**33  # bytes of a data set in memory
SLACK = 64


class ArraySet(NamedTuple):
    """A data set in memory."""

    pixel_NHWC: NDArray[np.uint8]
    label_N: NDArray[np.int64]
    classes: tuple[str, ...]


@cache
def digits() -> ArraySet:
    """scikit-learn's 1,797 digits of 8x8 pixels, their 17 levels stretched to 0..255. Read once."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UsageError("data.source: digits needs scikit-learn: pip install scikit-learn") from error
    bunch = load_digits()
    pixel_NHW = np.rint(np.asarray(bunch.images) * (255 / 16)).astype(np.uint8)
    return ArraySet(pixel_NHW[..., None], np.asarray(bunch.target, np.int64), DIGIT_CLASSES)


def find(root: Path, folders: Sequence[str], names: Sequence[str]) -> Path:
    """The first of the files that exists. UsageError: none does; it names folders in root that have one."""
    candidates = [Path(folder) / name for folder in folders for name in names]
    if (found := _first(root, candidates)) is not None:
        return found
    absent = f"data.root {root} does not hold the data set"
    if below := [str(folder) for folder in _folders(root) if _first(folder, candidates) is not None]:
        raise UsageError(f"{absent}, a folder in it does: set data.root: {some(below)}")
    looked = "; ".join(str(root / candidate) for candidate in candidates)
    raise UsageError(f"{absent} (archives must be unpacked). Looked for: {looked}")


def _first(root: Path, candidates: Sequence[Path]) -> Path | None:
    return next((file for candidate in candidates if (file := root / candidate).is_file()), None)


def _folders(root: Path) -> list[Path]:
    """The folders in root, by name; none where it cannot be listed."""
    try:
        return sorted(entry for entry in root.iterdir() if entry.is_dir())
    except OSError:
        return []


def require_room(file: Path, length: int, shape: tuple[int, ...], *, ratio: int = 1) -> None:
    """InputError, before anything is read, for more bytes than the file can hold (`ratio` times its own) or memory."""
    size, text = file.stat().st_size, " x ".join(map(str, shape))
    if length > LARGEST:
        raise InputError(f"{file}: its header asks for {length:,} bytes ({text}); at most {LARGEST:,} are read")
    if length > ratio * size + SLACK:
        raise InputError(f"{file}: found {size} bytes, expected {length} for {text}")


def checked(
    pixel_NHWC: NDArray[np.uint8], label_N: NDArray[Any], classes: tuple[str, ...], image_file: Path, label_file: Path
) -> ArraySet:
    """The data set. InputError: images and labels do not match."""
    if len(pixel_NHWC) != len(label_N):
        raise InputError(f"{image_file} has {len(pixel_NHWC)} images, {label_file} has {len(label_N)} labels")
    if len(label_N) == 0:
        raise InputError(f"{image_file}: found no image")
    low, high = int(label_N.min()), int(label_N.max())
    if low < 0 or high >= len(classes):
        raise InputError(f"{label_file}: found labels {low} to {high}, expected 0 to {len(classes) - 1}")
    return ArraySet(np.ascontiguousarray(pixel_NHWC), label_N.astype(np.int64), classes)
