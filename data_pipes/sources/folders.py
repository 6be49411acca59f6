"""Files and labels of data sets of class folders, and folders of images without labels.

Class names are compared and stored in Unicode's composed form (NFC), so that a data set has the same classes on macOS
as elsewhere; paths are kept unchanged.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from configs.errors import InputError, UsageError
from data_pipes.sources import split_folders
from data_pipes.sources.image_files import EXTENSIONS, STRAY, Walk, say_once, some, warn_once
from data_pipes.sources.layout import like_a_split, source_of, split_of
from data_pipes.sources.samples import UNLABELLED

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


def class_folders(root: Path, *, class_depth: int = 1, follow_links: bool = False) -> Listing:
    """root/train/<class>/*, root/val/<class>/*, root/test/<class>/*, in any spelling; or root/<class>/*, all train.

    The classes are train's; other splits may lack some. A test folder with images and no class folder is the split
    `evaluation`, without labels. class_depth: levels of folders that name a class; with 2, `animals/cat`.
    InputError: a class of train has no image, another split has a class that train has not, or folders that look like
    splits are where classes belong.
    """
    root = existing(root, "train/<class>/*.jpg or <class>/*.jpg")
    walk = Walk(root, follow_links=follow_links)
    splits = {split: split_folders.only(folders, split) for split, folders in split_folders.find(walk).items()} or {
        "train": root
    }
    if splits == {"train": root}:
        split_folders.require_no_data_set_below(root)
    found = {split: _class_files(walk, folder, class_depth) for split, folder in splits.items()}
    loose = {split: _loose(walk, folder, class_depth) for split, folder in splits.items()}
    evaluation: Files = ()
    if loose.get("test") and not any(found["test"].values()):
        evaluation = tuple((path, UNLABELLED) for path in walk.images(splits["test"]))
        del found["test"], loose["test"]
    for paths in loose.values():
        walk.leave_out(STRAY, paths)
    walk.report()
    classes = _classes(splits, found, class_depth)
    files = {split: _labelled(classes, images) for split, images in found.items()}
    for split in tuple(found)[:1]:
        _hint_at_depth(root, splits[split], found[split], class_depth)
    return Listing(root=root, classes=classes, files=files | ({"evaluation": evaluation} if evaluation else {}))


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


def _classes(homes: Mapping[str, Path], found: Mapping[str, Found], depth: int) -> tuple[str, ...]:
    """Class names in order: train's, or without train those of all splits."""
    for split, images in found.items():
        _require_no_splits(homes[split], images, alone=len(homes) == 1)
    for split, images in found.items():
        if not images:
            expected = f"{homes[split]}/{'<folder>/' * (depth - 1)}<class>/*.jpg"
            course = source_of(homes[split].parent) == "food11"
            hint = ". Its files are named as in Food-11: set data.source: food11" if course else ""
            raise InputError(f"{homes[split]} holds no class folder; expected {expected}{hint}")
    own = set(found["train"] if "train" in found else chain.from_iterable(found.values()))
    for split, images in found.items():
        _require_known(homes[split], {name for name, paths in images.items() if paths}, own)
    for split, images in found.items():
        empty = sorted(name for name, paths in images.items() if not paths)
        if len(empty) == len(images) or (empty and split == "train"):
            raise InputError(f"{homes[split]}: no image ({IMAGES}) of {some(empty)}")
    _warn_of_alike(homes["train"] if "train" in homes else next(iter(homes.values())).parent, own)
    return in_order(own)


def _warn_of_alike(folder: Path, names: Iterable[str]) -> None:
    """Warn of classes whose names differ only in case, in spaces around them, or in zeros before a number."""
    alike: dict[str, list[str]] = {}
    for name in sorted(names):
        alike.setdefault("/".join(map(_plain, name.split("/"))), []).append(name)
    groups = [" and ".join(some([name]) for name in group) for group in alike.values() if len(group) > 1]
    if groups:
        warn_once(
            f"{folder}: {some(groups, 4)} are classes of their own, though their names hardly differ; if they are one "
            "class, merge their folders"
        )


def _plain(name: str) -> str:
    name = name.strip()
    return str(int(name)) if name.isascii() and name.isdigit() else name.casefold()


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Class names in order: by number where all are numbers, so that 2 comes before 10, otherwise as text."""
    names = list(names)
    if all(name.isascii() and name.isdigit() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def _require_no_splits(folder: Path, images: Found, *, alone: bool) -> None:
    """Raise InputError if folders among the classes look like splits, or like parts of one.

    alone: there is no other split, so that the data set may be in there as a whole.
    """
    odd = [name for name in images if like_a_split(name.rpartition("/")[2])]
    if odd:
        raise InputError(
            f"{folder}: {some(odd)} look like splits, not like classes. If the data set is in there, "
            f"{_remedy(folder, odd, alone=alone)}; if they are classes, rename them"
        )


def _remedy(folder: Path, odd: list[str], *, alone: bool) -> str:
    """Say where the data set is or, beside other splits, how to bring the images of this one into its own folder."""
    if len(odd) > 1 and split_of(odd[0]):
        return f"set data.root: {folder}"
    if alone:
        return f"set data.root: {folder / odd[0]}"
    labelled = [name for name in odd if not name.rpartition("/")[2].casefold().startswith("unlabel")]
    others = [name for name in odd if name not in labelled[:1]]
    steps = [f"the content of {folder / name} up into {(folder / name).parent}" for name in labelled[:1]]
    return f"move {' and '.join([*steps, *([f'{some(others)} out of {folder}'] if others else [])])}"


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
    if len(extra) == len(names) and split_of(folder.name) == "test":
        texts.append(f"images without labels belong directly into {folder.name}/")
    raise InputError(f"{folder.parent}: the splits differ in their classes. {'; '.join(texts)}")


def _labelled(classes: tuple[str, ...], images: Found) -> Files:
    return tuple((path, label) for label, name in enumerate(classes) for path in images.get(name, ()))


def _hint_at_depth(root: Path, folder: Path, images: Found, depth: int) -> None:
    """Warn of class folders that hold only folders, which may be the classes; say where else there are sub-folders."""
    above = len(folder.relative_to(root).parts) + depth
    deeper = {name: [path for path in paths if path.count("/") > above] for name, paths in images.items()}
    nested = [name for name, paths in images.items() if paths and len(deeper[name]) == len(paths)]
    if nested:
        inner = sorted({path.split("/")[above] for name in nested for path in deeper[name]})
        warn_once(
            f"{folder}: {some(nested, 3)} hold only folders ({some(inner, 3)}), and each is one class; "
            f"data.class_depth: {depth + 1} makes a class of each inner folder"
        )
    elif others := [name for name, paths in deeper.items() if paths]:
        say_once(f"{folder}: images in sub-folders count for the class above them ({some(others, 3)})")


def unlabelled(path: Path, *, follow_links: bool = False) -> tuple[Path, tuple[str, ...]]:
    """(root, paths below it) of the images in a folder and its subfolders, or of a single file, in natural order."""
    if path.is_file():
        return path.parent.resolve(), (path.name,)
    if not path.is_dir():
        raise UsageError(f"there is no folder or image {path}")
    root = path.resolve()
    walk = Walk(root, follow_links=follow_links)
    paths = walk.images(root)
    walk.report()
    if not paths:
        raise InputError(f"{root} holds no image ({IMAGES})")
    return root, paths


def composed(name: str) -> str:
    """A class name in Unicode's composed form (NFC)."""
    return unicodedata.normalize("NFC", name)


def existing(root: Path, expected: str) -> Path:
    """The resolved data.root. UsageError: it is no folder; `expected` is what it should hold."""
    if not root.is_dir():
        raise UsageError(f"data.root {root} is not a folder; expected a folder that holds {expected}")
    return root.resolve()
