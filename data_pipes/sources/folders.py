"""Files and labels of data sets that are folders of images: the Food-11 layout and class folders.

Class names are compared and stored in Unicode's composed form (NFC), so that a data set has the same classes on macOS
as elsewhere; paths are kept unchanged.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from configs.errors import InputError, UsageError
from data_pipes.sources.image_files import EXTENSIONS, STRAY, Walk, some, warn_once
from data_pipes.sources.samples import UNLABELLED

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
SPLIT_FOLDERS = {"train": ("train",), "validation": ("val", "valid", "validation"), "test": ("test",)}
IMAGES = ", ".join(sorted(EXTENSIONS))

Files = tuple[tuple[str, int], ...]
Found = dict[str, tuple[str, ...]]
"""The images of each class, as paths below the root."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """The files of a data set."""

    root: Path
    classes: tuple[str, ...]
    """Class names; the position is the label."""
    files: Mapping[str, Files]
    """(path below the root with '/', label) pairs of each split, in a stable order."""


def food11(root: Path, *, follow_links: bool = False) -> Listing:
    """The course layout of Food-11: training/3_17.jpg is of class 3, as in validation/; evaluation/ has no labels.

    classes.txt, if present, has the name of a class on each line. InputError: names that do not match the layout.
    """
    root = _existing(root, "training/3_17.jpg, validation/0_2.jpg, evaluation/0000.jpg")
    walk = Walk(root, follow_links=follow_links)
    names = {"train": "training", "validation": "validation", "evaluation": "evaluation"}
    found = {split: walk.images(root / name) for split, name in names.items() if walk.has_folder(name)}
    if not found:
        raise UsageError(f"data.root {root} has none of the folders training/, validation/, evaluation/")
    walk.report()
    for split, paths in found.items():
        if not paths:
            raise InputError(f"{root / names[split]} holds no image ({IMAGES})")
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
    try:
        lines = names_file.read_text(encoding="utf-8-sig").splitlines()
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


def class_folders(root: Path, *, class_depth: int = 1, follow_links: bool = False) -> Listing:
    """root/train/<class>/*, root/val|valid|validation/<class>/*, root/test/<class>/*; or root/<class>/*, all train.

    The classes are train's; other splits may lack some. A test folder with images and no class folder is the split
    `evaluation`, without labels. class_depth: levels of folders that name a class; with 2, `animals/cat`.
    InputError: a class of train has no image, or another split has a class that train has not.
    """
    root = _existing(root, "train/<class>/*.jpg or <class>/*.jpg")
    walk = Walk(root, follow_links=follow_links)
    split_folders = _split_folders(walk) or {"train": root}
    found = {split: _class_files(walk, folder, class_depth) for split, folder in split_folders.items()}
    loose = {split: _loose(walk, folder, class_depth) for split, folder in split_folders.items()}
    evaluation: Files = ()
    if loose.get("test") and not any(found["test"].values()):
        evaluation = tuple((path, UNLABELLED) for path in walk.images(split_folders["test"]))
        del found["test"], loose["test"]
    for paths in loose.values():
        walk.leave_out(STRAY, paths)
    walk.report()
    classes = _classes(split_folders, found, class_depth)
    files = {split: _labelled(classes, images) for split, images in found.items()}
    for split in tuple(found)[:1]:
        _hint_at_depth(root, split_folders[split], found[split], class_depth)
    return Listing(root=root, classes=classes, files=files | ({"evaluation": evaluation} if evaluation else {}))


def _split_folders(walk: Walk) -> dict[str, Path]:
    split_folders = {}
    for split, names in SPLIT_FOLDERS.items():
        present = [walk.root / name for name in names if walk.has_folder(name)]
        if len(present) > 1:
            raise InputError(
                f"{walk.root} has {' and '.join(folder.name for folder in present)}; keep one {split} folder"
            )
        if present:
            split_folders[split] = present[0]
    return split_folders


def _class_files(walk: Walk, folder: Path, depth: int) -> Found:
    """The images of each class of a split. InputError: class names that are not UTF-8, or equal in composed form."""
    found: Found = {}
    spelt: dict[str, str] = {}
    for path in _folders_at(walk, folder, depth):
        name = composed(path)
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            raise InputError(f"{folder} has a class folder whose name is not UTF-8: {os.fsencode(path)!r}; rename it")
        if name in found:
            raise InputError(
                f"{folder} has two folders of one class: {spelt[name]!a} and {path!a} differ only in how Unicode "
                "composes them; merge them"
            )
        found[name], spelt[name] = walk.images(folder / path), path
    return found


def _folders_at(walk: Walk, folder: Path, depth: int) -> Iterator[str]:
    """The folders `depth` levels below `folder`, as paths below it."""
    for name in walk.folders(folder):
        if depth == 1:
            yield name
        else:
            yield from (f"{name}/{deeper}" for deeper in _folders_at(walk, folder / name, depth - 1))


def _loose(walk: Walk, folder: Path, depth: int) -> list[str]:
    """Images above the class folders."""
    inner = (folder / name for level in range(1, depth) for name in _folders_at(walk, folder, level))
    return [path for above in (folder, *inner) for path in walk.direct(above)]


def _classes(split_folders: Mapping[str, Path], found: Mapping[str, Found], depth: int) -> tuple[str, ...]:
    """Class names, sorted: train's, or without train those of all splits."""
    for split, images in found.items():
        if not images:
            expected = f"{split_folders[split]}/{'<folder>/' * (depth - 1)}<class>/*.jpg"
            raise InputError(f"{split_folders[split]} holds no class folder; expected {expected}")
    own = set(found["train"] if "train" in found else chain.from_iterable(found.values()))
    for split, images in found.items():
        _require_known(split_folders[split], {name for name, paths in images.items() if paths}, own)
    for split, images in found.items():
        empty = sorted(name for name, paths in images.items() if not paths)
        if len(empty) == len(images) or (empty and split == "train"):
            raise InputError(f"{split_folders[split]}: no image ({IMAGES}) of {some(empty)}")
    return tuple(sorted(own))


def _require_known(folder: Path, names: set[str], train: set[str]) -> None:
    """Raise InputError if a split has classes that train has not, and name them."""
    extra, missing = sorted(names - train), sorted(train - names)
    if not extra:
        return
    by_case = {name.casefold(): name for name in train}
    case = [f"{by_case[name.casefold()]} and {name}" for name in extra if name.casefold() in by_case]
    texts = [f"only in {folder.name}: {some(extra)}"]
    texts += [f"only in train: {some(missing)}"] if missing else []
    texts += [f"{some(case)} differ only in case"] if case else []
    if len(extra) == len(names) and folder.name in SPLIT_FOLDERS["test"]:
        texts.append(f"images without labels belong directly into {folder.name}/")
    raise InputError(f"{folder.parent}: the splits differ in their classes. {'; '.join(texts)}")


def _labelled(classes: tuple[str, ...], images: Found) -> Files:
    return tuple((path, label) for label, name in enumerate(classes) for path in images.get(name, ()))


def _hint_at_depth(root: Path, folder: Path, images: Found, depth: int) -> None:
    """Warn of a class folder that holds only folders, which may be the classes or the data set itself."""
    above = len(folder.relative_to(root).parts) + depth
    for paths in images.values():
        if not all(path.count("/") > above for path in paths):
            continue
        class_folder = root.joinpath(*paths[0].split("/")[:above])
        inner = sorted({path.split("/")[above] for path in paths})
        meant = f"data.class_depth: {depth + 1} makes a class of each"
        if any(inside in names for names in SPLIT_FOLDERS.values() for inside in inner):
            meant = f"if it is the data set, set data.root: {class_folder}"
        warn_once(f"{class_folder} holds only folders ({some(inner, 3)}), and all of it is one class; {meant}")
        return


def unlabelled(path: Path, *, follow_links: bool = False) -> tuple[Path, tuple[str, ...]]:
    """(root, paths below it) of the images in a folder and its subfolders, or of a single file, in natural order."""
    if path.is_file():
        return path.parent.resolve(), (path.name,)
    root = _existing(path, "images", key="the path")
    walk = Walk(root, follow_links=follow_links)
    paths = walk.images(root)
    walk.report()
    if not paths:
        raise InputError(f"{root} holds no image ({IMAGES})")
    return root, paths


def composed(name: str) -> str:
    """A class name in Unicode's composed form (NFC)."""
    return unicodedata.normalize("NFC", name)


def _existing(root: Path, expected: str, key: str = "data.root") -> Path:
    if not root.is_dir():
        raise UsageError(f"{key} {root} is not a folder; expected a folder that holds {expected}")
    return root.resolve()
