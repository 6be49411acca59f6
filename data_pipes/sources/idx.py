"""MNIST and Fashion-MNIST in IDX files.

Shape suffixes: N images, H height, W width, C channels.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from configs.errors import InputError, UsageError
from data_pipes.sources.arrays import DIGIT_CLASSES, ArraySet, Part, checked, find, require_room

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
FASHION_STARTS = (
    "9003027255095579106431484302445366085216679592730333722668335055",
    "9211614657457341248025791460938833807579613767212244582284807785",
)
"""The first labels of train and test, which tell Fashion-MNIST from MNIST: their files have the same names."""
DEFLATE = 1032  # times that deflate makes data smaller, at most


def read(root: Path, part: Part, classes: tuple[str, ...] | None = None) -> ArraySet:
    """MNIST or Fashion-MNIST from IDX files, plain or gzipped (http://yann.lecun.com/exdb/mnist).

    The files are in torchvision's folders (FashionMNIST/raw, MNIST/raw), in `root` or in `root`/raw.
    classes: names for all labels; None: Fashion-MNIST's if its labels are found, otherwise 0 to 9.
    """
    image_file, label_file = files(root, part)
    pixel_NHW = _read_idx(image_file, dimensions=3)
    label_N = _read_idx(label_file, dimensions=1)
    return checked(pixel_NHW[..., None], label_N, classes or _classes(label_N), image_file, label_file)


def read_classes(root: Path) -> tuple[str, ...]:
    """The classes of MNIST or Fashion-MNIST from the training labels alone."""
    label_file = files(root, "train")[1]
    return _classes(_read_idx(label_file, dimensions=1))


def files(root: Path, part: Part) -> tuple[Path, Path]:
    """The files of images and of labels. UsageError: there are none, or those of two data sets."""
    prefix = {"train": "train", "test": "t10k"}[part]
    names = [f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"]
    present = [folder for folder in ("FashionMNIST/raw", "MNIST/raw") if (root / folder).is_dir()]
    if len(present) > 1:
        raise UsageError(f"data.root {root} holds two data sets; choose {root / 'FashionMNIST'} or {root / 'MNIST'}")
    folders = ("FashionMNIST/raw", "MNIST/raw", "raw", ".")
    image_file, label_file = (find(root, folders, (name, f"{name}.gz")) for name in names)
    return image_file, label_file


def _classes(label_N: NDArray[np.uint8]) -> tuple[str, ...]:
    start = "".join(map(str, label_N[: len(FASHION_STARTS[0])]))
    return FASHION_CLASSES if start in FASHION_STARTS else DIGIT_CLASSES


def _read_idx(file: Path, dimensions: int) -> NDArray[np.uint8]:
    zipped = file.suffix == ".gz"
    try:
        with gzip.open(file) if zipped else file.open("rb") as stream:
            head = stream.read(4 * (1 + dimensions))
            shape = _shape(file, head, dimensions)
            count = math.prod(shape)
            require_room(file, len(head) + count, shape, ratio=DEFLATE if zipped else 1)
            data = stream.read(count + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{file}: damaged gzip file ({error}); download it again") from error
    if len(data) != count or count == 0:
        found = f"found {'more than ' * (len(data) > count)}{len(head) + min(len(data), count)} bytes"
        raise InputError(f"{file}: {found}, expected {len(head) + count} for {' x '.join(map(str, shape))}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _shape(file: Path, head: bytes, dimensions: int) -> tuple[int, ...]:
    """The shape in the header of an IDX file of unsigned bytes."""
    magic = 0x0800 + dimensions
    whole = len(head) == 4 * (1 + dimensions)
    if not whole or (found := struct.unpack(">I", head[:4])[0]) != magic:
        start = f"{found:#010x}" if whole else f"{len(head)} bytes in all"
        raise InputError(f"{file}: found {start}, expected an IDX file that starts with {magic:#010x}")
    return struct.unpack(f">{dimensions}I", head[4:])
