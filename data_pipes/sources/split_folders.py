"""Folders of splits in the root of a data set, and data sets that lie further down than they were looked for."""

from __future__ import annotations

import os
from pathlib import Path

from configs.errors import InputError
from data_pipes.sources.image_files import Walk, say_once, some
from data_pipes.sources.layout import split_of


def find(walk: Walk) -> dict[str, list[Path]]:
    """The folders of each split in the root of a data set, in any spelling; other folders beside them are said.

    InputError: one is a link that must not be followed, or leads to the folder of another.
    """
    names = walk.top_folders()
    found: dict[str, list[Path]] = {}
    for name in names:
        if split := split_of(name):
            found.setdefault(split, []).append(walk.root / name)
    walk.require_apart([folder for folders in found.values() for folder in folders])
    others = [name for name in names if split_of(name) is None]
    if found and others:
        say_once(f"{walk.root}: not read, beside the splits, are the folders {some(others)}")
    return {split: found[split] for split in ("train", "validation", "test") if split in found}


def only(folders: list[Path], split: str) -> Path:
    """The one folder of a split. InputError: there are several."""
    if len(folders) > 1:
        names = " and ".join(folder.name for folder in folders)
        raise InputError(f"{folders[0].parent} has {names}; keep one {split} folder")
    return folders[0]


def data_sets_below(root: Path) -> list[Path]:
    """Folders one level below that hold folders named as splits, or if there are none, two levels below."""
    level = _content(root)[0]
    for _ in range(2):
        content = {folder: _content(folder) for folder in level}
        holding = [folder for folder in level if any(split_of(inner.name) for inner in content[folder][0])]
        if holding:
            return holding
        level = [inner for folders, files in content.values() if not files for inner in folders]
    return []


def _content(folder: Path) -> tuple[list[Path], bool]:
    """Its folders that are neither links nor hidden, and whether it holds files."""
    try:
        with os.scandir(folder) as listing:
            entries = [entry for entry in listing if not entry.name.startswith(".")]
    except OSError:  # the walk says so
        return [], False
    folders = sorted(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))
    return folders, len(folders) < len(entries)


def require_no_data_set_below(root: Path) -> None:
    """Raise InputError if the folders that would be classes hold splits, and say what to pass instead."""
    below = data_sets_below(root)
    if len(below) == 1:
        raise InputError(f"data.root {root} holds no splits and no classes, {below[0]} does: set data.root: {below[0]}")
    if below:
        names = some([folder.relative_to(root).as_posix() for folder in below])
        raise InputError(
            f"data.root {root}: {names} hold folders named as splits. If each is a data set, set data.root to one; if "
            "they are classes, the splits belong above them: train/<class>/"
        )
