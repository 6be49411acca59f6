"""Data sets that are folders of image files: Food-11 names and class folders. Lists names; opens no image."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from configs.errors import InputError, UsageError
from data_pipes.samples import UNLABELLED

logger = logging.getLogger(__name__)

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
# Formats that the index refuses are listed too: it names such files, whereas here they would vanish in silence.
EXTENSIONS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".heic", ".avif"}
SPLIT_FOLDERS = {"train": ("train",), "validation": ("val", "valid", "validation"), "test": ("test",)}

Files = tuple[tuple[str, int], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """Which files a data set has."""

    root: Path
    classes: tuple[str, ...]
    """Their position is the label."""
    files: Mapping[str, Files]
    """For each split its (path below the root with '/', label) pairs in a stable order."""


def food11(root: Path) -> Listing:
    """The course layout of Food-11: training/3_17.jpg is of class 3; validation/ alike; evaluation/ has no labels.

    classes.txt, one name a line, names the classes. Raises InputError for names that fit neither.
    """
    root = _existing(root, "training/3_17.jpg, validation/0_2.jpg, evaluation/0000.jpg")
    names = {"train": "training", "validation": "validation", "evaluation": "evaluation"}
    found = {split: _images(root, root / name) for split, name in names.items() if _has_folder(root, name)}
    if not found:
        raise UsageError(f"data.root {root} has none of the folders training/, validation/, evaluation/")
    for split, paths in found.items():
        if not paths:
            raise InputError(f"{root / names[split]} holds no image ({', '.join(sorted(EXTENSIONS))})")
    files = {
        split: tuple((path, UNLABELLED if split == "evaluation" else _food11_label(root, path)) for path in paths)
        for split, paths in found.items()
    }
    return Listing(root=root, classes=_food11_classes(root, files), files=files)


def _food11_label(root: Path, path: str) -> int:
    match = re.match(r"([0-9]{1,6})_", path.rpartition("/")[2])
    if match is None:
        raise InputError(f"{root / path}: a Food-11 file is named <class>_<number>.jpg, for example 3_17.jpg")
    return int(match[1])


def _food11_classes(root: Path, files: Mapping[str, Files]) -> tuple[str, ...]:
    last, path = max(((label, path) for pairs in files.values() for path, label in pairs), default=(UNLABELLED, ""))
    names_file = root / "classes.txt"
    if not names_file.is_file():
        return FOOD11_CLASSES if last + 1 == len(FOOD11_CLASSES) else tuple(str(label) for label in range(last + 1))
    lines = names_file.read_text(encoding="utf-8-sig").splitlines()
    classes = tuple(line.strip() for line in lines if line.strip())
    if len(set(classes)) != len(classes):
        raise InputError(f"{names_file}: a class is named twice")
    if last >= len(classes):
        raise InputError(f"{root / path} is of class {last}, but {names_file} names {len(classes)} classes, from 0 on")
    return classes


def class_folders(root: Path) -> Listing:
    """root/train/<class>/*, root/val|valid|validation/<class>/*, root/test/<class>/*; or root/<class>/*, all train.

    Raises InputError when the splits differ in their classes or a class of train has no image.
    """
    root = _existing(root, "train/<class>/*.jpg or <class>/*.jpg")
    homes = _split_homes(root) or {"train": root}
    classes_of = {split: _class_names(root, home) for split, home in homes.items()}
    reference = "train" if "train" in homes else next(iter(homes))
    classes = classes_of[reference]
    if not classes:
        raise InputError(f"{homes[reference]} holds no class folder; expected {homes[reference]}/<class>/*.jpg")
    for split, others in classes_of.items():
        if others != classes:
            only = {reference: sorted(set(classes) - set(others)), split: sorted(set(others) - set(classes))}
            text = "; ".join(f"only in {homes[name].name}: {', '.join(names)}" for name, names in only.items() if names)
            raise InputError(f"{root}: the splits differ in their classes. {text}")
    files = {split: _class_files(root, home, classes) for split, home in homes.items()}
    _check_filled(root, homes, files, classes)
    return Listing(root=root, classes=classes, files=files)


def _split_homes(root: Path) -> dict[str, Path]:
    homes = {}
    for split, names in SPLIT_FOLDERS.items():
        present = [root / name for name in names if _has_folder(root, name)]
        if len(present) > 1:
            raise InputError(f"{root} has {' and '.join(home.name for home in present)}; keep one {split} folder")
        if present:
            homes[split] = present[0]
    return homes


def _class_names(root: Path, home: Path) -> tuple[str, ...]:
    entries = _entries(root, home)
    stray = [entry.name for entry in entries if not entry.is_dir() and _is_image(entry.name)]
    if stray:
        logger.warning(
            "%s: %d images lie in no class folder and are ignored, for example %s", home, len(stray), stray[0]
        )
    return tuple(entry.name for entry in entries if entry.is_dir())


def _class_files(root: Path, home: Path, classes: tuple[str, ...]) -> Files:
    return tuple((path, label) for label, name in enumerate(classes) for path in _images(root, home / name))


def _check_filled(root: Path, homes: Mapping[str, Path], files: Mapping[str, Files], classes: tuple[str, ...]) -> None:
    for split, pairs in files.items():
        filled = {label for _, label in pairs}
        empty = [name for label, name in enumerate(classes) if label not in filled]
        if not pairs or (empty and split == "train"):
            raise InputError(f"{homes[split]}: no image ({', '.join(sorted(EXTENSIONS))}) of {', '.join(empty)}")


def unlabelled(path: Path) -> tuple[Path, tuple[str, ...]]:
    """(root, paths below it) of the images in a folder and its folders, or of a single file, in natural order."""
    if path.is_file():
        return path.parent.resolve(), (path.name,)
    root = _existing(path, "images", key="the path")
    paths = _images(root, root)
    if not paths:
        raise InputError(f"{root} holds no image ({', '.join(sorted(EXTENSIONS))})")
    return root, paths


def natural(path: str) -> tuple[list[str | int], str]:
    """Sort key that reads runs of digits as numbers: 2.jpg before 10.jpg. The text itself settles 2.jpg and 02.jpg."""
    # Splitting by a group alternates text and digits, so that like is always compared with like.
    return [int(piece) if i % 2 else piece for i, piece in enumerate(re.split(r"([0-9]+)", path))], path


def _existing(root: Path, expected: str, key: str = "data.root") -> Path:
    if not root.is_dir():
        raise UsageError(f"{key} {root} is not a folder; expected a folder that holds {expected}")
    return root.resolve()


def _has_folder(root: Path, name: str) -> bool:
    if (root / name).is_symlink():
        raise InputError(f"{root / name} is a link; only data.root itself may be one")
    return (root / name).is_dir()


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in EXTENSIONS  # noqa: PTH122 - a million names, no Path for each


def _images(root: Path, folder: Path) -> tuple[str, ...]:
    """Images in a folder and its folders, as paths below the root, in natural order."""
    prefix = len(root.as_posix().rstrip("/")) + 1
    return tuple(sorted((Path(p).as_posix()[prefix:] for p in _walk(root, folder)), key=natural))


def _walk(root: Path, folder: Path) -> Iterator[str]:
    for entry in _entries(root, folder):
        if entry.is_dir():
            yield from _walk(root, Path(entry.path))
        elif _is_image(entry.name):
            yield entry.path


def _entries(root: Path, folder: Path) -> list[os.DirEntry[str]]:
    """What a folder holds, by name, hidden entries left out. Raises InputError for links that leave the root."""
    with os.scandir(folder) as listing:
        entries = sorted((entry for entry in listing if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in entries:
        if not entry.is_symlink():
            continue
        target = Path(entry.path).resolve()
        if not target.is_relative_to(root):
            raise InputError(f"{entry.path} links to {target}, outside {root}; copy the files or move data.root up")
        # Would count images twice, or walk in a circle.
        if entry.is_dir():
            raise InputError(f"{entry.path} links to the folder {target}; only links to files are followed")
    return entries
