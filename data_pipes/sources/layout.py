"""Names of split folders, and the source that a data set's layout belongs to. Free of OpenCV and torch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from data_pipes.spec import SourceName

SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "evaluation", "eval"),
}
"""How people name the folder of a split, in lower case."""
PARTS_OF_TRAIN = ("labeled", "labelled", "unlabeled", "unlabelled")
FOOD11_NAME = re.compile(r"([0-9]{1,6})_")
"""A Food-11 file with a label: 3_17.jpg is of class 3."""
LOOKED_AT = 200  # files whose names decide between the layouts of folders


def split_of(name: str) -> str | None:
    """The split that a folder of this name holds; None: it is not a split's."""
    folded = name.casefold()
    return next((split for split, names in SPLIT_NAMES.items() if folded in names), None)


def like_a_split(name: str) -> bool:
    """Whether a folder of this name holds a split or a part of one, rather than a class."""
    return split_of(name) is not None or name.casefold() in PARTS_OF_TRAIN


def source_of(root: Path) -> SourceName:
    """The data.source whose layout a folder has, by the names in it; `folder` where nothing else fits."""
    if _any(root, ("FashionMNIST/raw", "MNIST/raw", "raw", "."), "*-images-idx3-ubyte*"):
        return "idx"
    if _any(root, ("cifar-10-batches-py", "."), "test_batch"):
        return "cifar10"
    if _any(root, (".", "datasets"), "cifar10.1_v*_data.npy"):
        return "cifar10.1"
    return "food11" if any(_holds_numbered(folder) for folder in _split_folders(root)) else "folder"


def _any(root: Path, folders: Iterable[str], pattern: str) -> bool:
    try:
        return any(next((root / folder).glob(pattern), None) is not None for folder in folders)
    except OSError:
        return False


def _split_folders(root: Path) -> list[Path]:
    try:
        return [path for path in root.iterdir() if split_of(path.name) in ("train", "validation") and path.is_dir()]
    except OSError:  # the source says what is wrong with it
        return []


def _holds_numbered(folder: Path) -> bool:
    """Whether images lie directly in a folder, named as Food-11's."""
    try:
        names = list(islice((path.name for path in folder.iterdir() if not path.name.startswith(".")), LOOKED_AT))
    except OSError:
        return False
    return any(FOOD11_NAME.match(name) and (folder / name).is_file() for name in names)
