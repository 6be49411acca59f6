"""A generated data set of any number of image files, in class folders, of hard links to a few small JPEGs."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

IMAGES_OF_ONE_FILE = 640  # links to one file; ext4 allows 65,000
SIDES = (40, 64)
"""The range of height and width, in pixels."""


def make(root: Path, images: int, classes: int) -> None:
    """Write root/train/<class>/<image>.JPEG; the files themselves lie beside, in root/files."""
    _write_files(root / "files", -(-images // IMAGES_OF_ONE_FILE))
    share = np.linspace(0, images, classes + 1).astype(int).tolist()
    for label in range(classes):
        folder = root / "train" / _class(label)
        folder.mkdir(parents=True)
        _link(root, folder, range(share[label], share[label + 1]))


def add(root: Path, images: int, classes: int, first: int) -> None:
    """Add images, one to each class folder in turn, numbered from `first` on."""
    for number in range(first, first + images):
        _link(root, root / "train" / _class(number % classes), range(number, number + 1), shift=first)


def _class(label: int) -> str:
    return f"n{label:08d}"


def _write_files(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0)
    for number in range(count):
        width, height = noise.integers(*SIDES, 2).tolist()
        small = Image.fromarray(noise.integers(0, 256, (4, 5, 3), dtype=np.uint8))
        small.resize((width, height)).save(folder / f"{number}.jpg", quality=80)


def _link(root: Path, folder: Path, numbers: range, shift: int = 0) -> None:
    """shift: what is taken from a number before the file is looked up."""
    for number in numbers:  # a million names, no Path for each
        source = f"{root}/files/{(number - shift) // IMAGES_OF_ONE_FILE}.jpg"
        os.link(source, f"{folder}/{folder.name}_{number}.JPEG")
