"""Files and labels of the Food-11 course layout: training/3_17.jpg is of class 3."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from configs.errors import InputError, UsageError
from configs.files import read_regular
from data_pipes.sources import split_folders
from data_pipes.sources.folders import IMAGES, Files, Listing, composed, existing
from data_pipes.sources.image_files import Walk, some
from data_pipes.sources.layout import FOOD11_NAME
from data_pipes.sources.samples import UNLABELLED

GAPS = 10
"""Class numbers may be this many times the classes that have images, and Food-11's own."""
FOOD11_CLASSES = (
    "Bread",
    "Dairy product",
    "Dessert",
    "Egg",
    "Fried food",
    "Meat",
    "Noodles-Pasta",
    "Rice",
    "Seafood",
    "Soup",
    "Vegetable-Fruit",
)


def food11(root: Path, *, follow_links: bool = False) -> Listing:
    """training/3_17.jpg, validation/0_2.jpg, and evaluation/ or testing/, in any spelling of the splits.

    Images of evaluation/ or testing/ are the split `test` where their names have the labels of known classes, and
    otherwise `evaluation`, without labels. classes.txt, if present, has the name of a class on each line.
    InputError: names that do not match the layout.
    """
    root = existing(root, "training/3_17.jpg, validation/0_2.jpg, evaluation/0000.jpg")
    walk = Walk(root, follow_links=follow_links)
    folders = split_folders.find(walk)
    if not folders:
        below = split_folders.data_sets_below(root)
        hint = f"; set data.root: {some(list(map(str, below)))}" if below else "; class folders are data.source: folder"
        raise UsageError(f"data.root {root} has none of the folders training/, validation/, evaluation/{hint}")
    tests = folders.pop("test", [])
    found = {split: _images(walk, split_folders.only(inner, split)) for split, inner in folders.items()}
    images = {folder: _images(walk, folder) for folder in tests}
    walk.report()
    files: dict[str, Files] = {
        split: tuple((path, _label(root, path)) for path in paths) for split, paths in found.items()
    }
    known = len(_classes(root, files))
    for folder, paths in images.items():
        split = "test" if _labelled(folder, paths, known or len(FOOD11_CLASSES)) else "evaluation"
        if split in files:
            split_folders.only(tests, split)
        files[split] = tuple((path, _label(root, path) if split == "test" else UNLABELLED) for path in paths)
    return Listing(root=root, classes=_classes(root, files), files=files)


def _images(walk: Walk, folder: Path) -> tuple[str, ...]:
    paths = walk.images(folder)
    if not paths:
        walk.report()
        raise InputError(f"{folder} holds no image ({IMAGES})")
    return paths


def _labelled(folder: Path, paths: tuple[str, ...], known: int) -> bool:
    """Whether the names of a test folder begin with the numbers of known classes. InputError: only some do."""
    matches = [FOOD11_NAME.match(path.rpartition("/")[2]) for path in paths]
    labelled = [match is not None and int(match[1]) < known for match in matches]
    if any(labelled) and not all(labelled):
        with_label, without = paths[labelled.index(True)], paths[labelled.index(False)]
        raise InputError(f"{folder} mixes images with a label, such as {with_label}, and without, such as {without}")
    return all(labelled)


def _label(root: Path, path: str) -> int:
    match = FOOD11_NAME.match(path.rpartition("/")[2])
    if match is None:
        raise InputError(
            f"{root / path}: a Food-11 file is named <class>_<number>.jpg, for example 3_17.jpg; "
            "folders that name the classes are data.source: folder"
        )
    return int(match[1])


def _classes(root: Path, files: Mapping[str, Files]) -> tuple[str, ...]:
    last, path = max(((label, path) for pairs in files.values() for path, label in pairs), default=(UNLABELLED, ""))
    names_file = root / "classes.txt"
    if not names_file.is_file():
        present = len({label for pairs in files.values() for _, label in pairs})
        if last >= GAPS * (present + len(FOOD11_CLASSES)):
            raise InputError(
                f"{root / path} is of class {last}, and there are images of {present} classes: a Food-11 file is named "
                "<class>_<number>.jpg, with classes from 0 on"
            )
        return FOOD11_CLASSES if last + 1 == len(FOOD11_CLASSES) else tuple(str(label) for label in range(last + 1))
    try:
        lines = read_regular(names_file).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{names_file} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from error
    classes = tuple(composed(line.strip()) for line in lines if line.strip())
    if len(set(classes)) != len(classes):
        raise InputError(f"{names_file}: a class is named twice")
    if last >= len(classes):
        raise InputError(f"{root / path} is of class {last}, but {names_file} names {len(classes)} classes, from 0 on")
    return classes
