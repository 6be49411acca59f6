"""Photographs and arrays for the parts: the user's where they are, generated ones where they are missing."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from configs import resources
from launch.bench.gpu.config import PartConfig

CLASSES = 11  # of Food-11
PHOTOGRAPHS = {"training": 2_200, "validation": 550}
FEW_PHOTOGRAPHS = {"training": 88, "validation": 44}
SIDES, FEW_SIDES = (300, 520), (60, 100)
"""Least and largest side in pixels."""
ARRAYS = {"train": 60_000, "t10k": 10_000}
FEW_ARRAYS = {"train": 640, "t10k": 100}
TURNED_EVERY = 7  # photographs


@dataclass(frozen=True, slots=True)
class Material:
    """A data set on disk."""

    root: Path
    words: str
    """What it is, for a note."""


def photographs(config: PartConfig) -> Material:
    """Photographs in the layout of Food-11; some are turned by EXIF."""
    given = _given(config, "food10")
    if given is not None:
        return Material(given, "the photographs in food10")
    root = config.folder / "photographs"
    counts, sides = (FEW_PHOTOGRAPHS, FEW_SIDES) if config.small else (PHOTOGRAPHS, SIDES)
    if not root.exists():
        _whole(root, lambda part: _write_photographs(part, counts, sides))
    total = sum(counts.values())
    return Material(root, f"{total:,} generated photographs of {sides[0]} to {sides[1]} pixels a side")


def arrays(config: PartConfig) -> Material:
    """Images of 28 x 28 in the layout of Fashion-MNIST."""
    given = _given(config, "fashion_mnist")
    if given is not None:
        return Material(given, "Fashion-MNIST")
    root = config.folder / "arrays"
    counts = FEW_ARRAYS if config.small else ARRAYS
    if not root.exists():
        _whole(root, lambda part: _write_arrays(part / "FashionMNIST" / "raw", counts))
    return Material(root, f"{counts['train']:,} generated images of 28 x 28 in the layout of Fashion-MNIST")


def picture(height: int, width: int, seed: int, label: int = 0) -> Image.Image:
    """Coarse blobs over a slope, in a colour that depends on the label: turned or mirrored it is another image."""
    noise = np.random.default_rng((seed, height, width))
    colour_C = np.random.default_rng(label).uniform(30, 120, 3)
    blobs = noise.uniform(0, 90, (max(2, height // 16), max(2, width // 16), 3)) + colour_C
    smooth = Image.fromarray(blobs.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    slope_HW1 = np.linspace(0, 30, height)[:, None, None] + np.linspace(0, 15, width)[None, :, None]
    return Image.fromarray((np.asarray(smooth) + slope_HW1).clip(0, 255).astype(np.uint8))


def save_turned(image: Image.Image, path: Path, orientation: int) -> None:
    """Write a JPEG file with an EXIF orientation, 1 to 8."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, quality=90, exif=exif)


def _given(config: PartConfig, name: str) -> Path | None:
    """The user's folder; None if there is none, or in a trial, which is to be short."""
    folder = Path(config.data) / name if config.data else None
    return folder if folder is not None and folder.is_dir() and not config.small else None


def _whole(root: Path, write: Callable[[Path], None]) -> None:
    """Write a folder under another name first: a part that is ended leaves none that looks complete."""
    partial = root.with_name(f"{root.name}.{os.getpid()}")
    write(partial)
    partial.rename(root)


def _write_photographs(root: Path, counts: dict[str, int], sides: tuple[int, int]) -> None:
    def write(path: Path, number: int, seed: int) -> None:
        height, width = np.random.default_rng(seed).integers(*sides, size=2, endpoint=True)
        image = picture(int(height), int(width), seed, number % CLASSES)
        save_turned(image, path, 1 + number // TURNED_EVERY % 8 if number % TURNED_EVERY == 0 else 1)

    with ThreadPoolExecutor(resources.cores()) as pool:
        done = []
        for place, (split, count) in enumerate(counts.items()):
            (root / split).mkdir(parents=True)
            for i in range(count):
                path = root / split / f"{i % CLASSES}_{i // CLASSES}.jpg"
                done.append(pool.submit(write, path, i, i + place * 1_000_000))
        for one in done:
            one.result()


def _write_arrays(folder: Path, counts: dict[str, int]) -> None:
    """Ten prototypes with noise: a small network learns them."""
    folder.mkdir(parents=True)
    prototype = np.random.default_rng(0).integers(0, 200, (10, 28, 28), dtype=np.uint8)
    for seed, (prefix, count) in enumerate(counts.items()):
        label_N = np.arange(count, dtype=np.uint8) % 10
        noise = np.random.default_rng(seed).integers(0, 56, (count, 28, 28), dtype=np.uint8)
        for name, array in (("images-idx3", prototype[label_N] + noise), ("labels-idx1", label_N)):
            head = struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape)
            (folder / f"{prefix}-{name}-ubyte").write_bytes(head + array.tobytes())
