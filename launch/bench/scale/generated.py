"""A generated data set of any number of image files, in class folders, of hard links to a few small JPEGs."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

IMAGES_OF_ONE_FILE = 640  # links to one file; ext4 allows 65,000
FEWEST_FILES = 10  # so that a class has images of different content, from which a validation split is cut
SIDES = (40, 64)
"""The range of height and width, in pixels."""


def make(root: Path, images: int, classes: int) -> None:
    """Write root/train/<class>/<image>.JPEG; the files themselves lie beside, in root/files."""
    _write_files(root / "files", max(FEWEST_FILES, -(-images // IMAGES_OF_ONE_FILE)))
    share = np.linspace(0, images, classes + 1).astype(int).tolist()
    for label in range(classes):
        folder = root / "train" / _class(label)
        folder.mkdir(parents=True)
        _link(root, folder, range(share[label], share[label + 1]))


def add(root: Path, images: int, classes: int, first: int) -> None:
    """Add images, one to each class folder in turn, numbered from `first` on."""
    for number in range(first, first + images):
        _link(root, root / "train" / _class(number % classes), range(number, number + 1))


def _class(label: int) -> str:
    return f"n{label:08d}"


def _write_files(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0)
    for number in range(count):
        width, height = noise.integers(*SIDES, 2).tolist()
        small = Image.fromarray(noise.integers(0, 256, (4, 5, 3), dtype=np.uint8))
        small.resize((width, height)).save(folder / f"{number}.jpg", quality=80)


def _link(root: Path, folder: Path, numbers: range) -> None:
    """Link the files in turn."""
    count = len(list((root / "files").iterdir()))
    for number in numbers:  # a million names, no Path for each
        os.link(f"{root}/files/{number % count}.jpg", f"{folder}/{folder.name}_{number}.JPEG")
