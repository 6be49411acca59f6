"""Samples of the data set in a DataSpec: the splits it has, and a validation split cut from train if it has none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from configs.errors import InputError, UsageError
from configs.home import expand
from data_pipes.sources import arrays, cifar, folders, idx, index
from data_pipes.sources.food11 import food11
from data_pipes.sources.image_files import some, warn_once
from data_pipes.sources.images import ArrayImages, FileImages
from data_pipes.sources.samples import UNLABELLED, Samples
from data_pipes.sources.split import by_content, stratified
from data_pipes.spec import DataSpec

Split = Literal["train", "validation", "test", "evaluation", "all"]
"""all: every labelled image of a data set of files."""
BadFiles = Literal["error", "skip"]

DIGITS_TEST_FRACTION = 0.2
NAMED_BAD_FILES = 5


def splits(spec: DataSpec) -> tuple[str, ...]:
    """The splits that `load` accepts for this spec."""
    if spec.source == "cifar10.1":
        return ("test",)
    return _splits(_listing(spec)) if spec.facts.files else ("train", "validation", "test")


def _splits(listing: folders.Listing) -> tuple[str, ...]:
    made = {"validation"} if "train" in listing.files else set()
    order = ("train", "validation", "test", "evaluation")
    return tuple(split for split in order if split in listing.files or split in made)


def undivided(spec: DataSpec) -> bool:
    """Whether a data set of files is one set of labelled images, which brings no validation or test split."""
    return spec.facts.files and set(_listing(spec).files) <= {"train", "evaluation"}


def require_classes_to_tell_apart(spec: DataSpec) -> None:
    """InputError: a data set of files has one class alone. Only names are read, no image."""
    listing = _listing(spec) if spec.facts.files else None
    if listing is not None and len(listing.classes) == 1:
        raise InputError(
            f"{listing.root} has one class alone, {some(listing.classes)}; training needs at least two. A class is a "
            "folder of images in data.root or in train/; data.class_depth: 2 looks one level deeper"
        )


def load(spec: DataSpec, split: Split) -> Samples:
    """The samples of one split, with files checked and validation cut from train if the data set has none.

    UsageError: the data set is not at data.root. InputError: it has no such split, it is damaged, it has bad image
    files (unless data.bad_files is skip), or skipping them leaves a class of train without images.
    """
    if spec.facts.files:
        return _from_files(spec, split)
    _require_split(split, splits(spec), spec)
    samples = _array_samples(spec, "test" if split == "test" else "train")
    return samples if split == "test" else _cut(samples, spec, split)


def is_cut(spec: DataSpec) -> bool:
    """Whether the validation split of a data set of files is cut from train, as files may come and go."""
    return spec.facts.files and "validation" not in _listing(spec).files


def whole(spec: DataSpec) -> Samples:
    """The images of a data set of files that train and a validation split that is cut from it share. As `load`."""
    return _file_samples(spec, _listing(spec), "train")


def cut_by_position(spec: DataSpec) -> tuple[Samples, Samples]:
    """Train and validation as they were cut from files before `by_content`, for networks of that time. As `load`."""
    images = whole(spec)
    return _cut(images, spec, "train", by_position=True), _cut(images, spec, "validation", by_position=True)


def class_names(spec: DataSpec) -> tuple[str, ...]:
    """The classes that `load` gives, in the order of the labels; no image is read.

    UsageError: the data set is not at data.root. InputError: its folders or labels contradict each other.
    """
    if spec.facts.files:
        return _listing(spec).classes
    match spec.source:
        case "idx":
            return spec.classes or idx.read_classes(_root(spec))
        case "cifar10":
            return cifar.cifar10_classes(_root(spec))
        case "cifar10.1":
            return cifar.CIFAR_CLASSES
        case _:
            return arrays.DIGIT_CLASSES


def unlabelled(bad_files: BadFiles, path: str | Path, *, threads: int = 0, follow_links: bool = False) -> Samples:
    """The images of a folder, or one file, for prediction: no labels, no classes, in natural order."""
    root, paths = folders.unlabelled(expand(path), follow_links=follow_links)
    label_N = np.full(len(paths), UNLABELLED, np.int64)
    return _indexed("unlabelled", root, paths, label_N, (), bad_files, threads)


def _require_split(split: str, available: tuple[str, ...], spec: DataSpec) -> None:
    if split not in available:
        where = f" at {spec.root}" if spec.root else ""
        hint = "; its images to test on have no labels" if split == "test" and "evaluation" in available else ""
        raise InputError(f"data.source {spec.source}{where} has no {split} split; it has {', '.join(available)}{hint}")


def _root(spec: DataSpec) -> Path:
    if not spec.root:
        raise UsageError(f"data.root is not set; data.source: {spec.source} needs the folder of the data set")
    return expand(spec.root)


def _cut(samples: Samples, spec: DataSpec, split: Split, *, by_position: bool = False) -> Samples:
    """The train or the validation part of the data set's train split: of files by content, of an array by position."""
    fraction, seed = spec.validation_fraction, spec.split_seed
    if by_position or not isinstance(samples.images, FileImages):
        train_rows, validation_rows = stratified(samples.label_N, fraction, seed)
    else:
        train_rows, validation_rows = by_content(samples.label_N, samples.contents(), fraction, seed)
    if len(validation_rows) == 0:
        raise InputError(
            f"{len(samples)} training samples are too few to cut a validation split: no class has two different ones"
        )
    return samples.select(validation_rows if split == "validation" else train_rows, split=split)


# ---- arrays


def _array_samples(spec: DataSpec, part: arrays.Part) -> Samples:
    match spec.source:
        case "digits":
            # The test samples do not depend on the split seed.
            samples = _in_memory(arrays.digits(), part)
            train_rows, test_rows = stratified(samples.label_N, DIGITS_TEST_FRACTION, seed=0)
            return samples.select(test_rows if part == "test" else train_rows)
        case "idx":
            return _in_memory(idx.read(_root(spec), part, spec.classes), part)
        case "cifar10":
            return _in_memory(cifar.cifar10(_root(spec), part), part)
        case "cifar10.1":
            return _in_memory(cifar.cifar10_1(_root(spec), spec.version), part)
        case _:
            raise AssertionError(f"{spec.source} is not an array data set")


def _in_memory(content: arrays.ArraySet, split: str) -> Samples:
    n, height, width, _ = content.pixel_NHWC.shape
    return Samples(
        split=split,
        classes=content.classes,
        key_N=tuple(str(row) for row in range(n)),
        label_N=content.label_N,
        size_N2=np.tile(np.array([height, width], np.int32), (n, 1)),
        row_N=np.arange(n),
        images=ArrayImages(content.pixel_NHWC),
    )


# ---- files


def _listing(spec: DataSpec) -> folders.Listing:
    if spec.source != "food11":
        return folders.class_folders(_root(spec), class_depth=spec.class_depth, follow_links=spec.follow_links)
    listing = food11(_root(spec), follow_links=spec.follow_links)
    return listing if spec.classes is None else _named(listing, spec.classes)


def _named(listing: folders.Listing, classes: tuple[str, ...]) -> folders.Listing:
    last, path = max(((label, path) for pairs in listing.files.values() for path, label in pairs))
    if last >= len(classes):
        raise InputError(
            f"{listing.root / path} is of class {last}, but data.classes names {len(classes)} classes, from 0 on"
        )
    return replace(listing, classes=classes)


def _from_files(spec: DataSpec, split: Split) -> Samples:
    listing = _listing(spec)
    if split == "all":
        return _file_samples(spec, _merged(listing), "all")
    _require_split(split, _splits(listing), spec)
    if split in listing.files and (split != "train" or "validation" in listing.files):
        samples = _file_samples(spec, listing, split)
    else:
        samples = _cut(_file_samples(spec, listing, "train"), spec, split)
    missing = _missing(samples)
    if samples.labelled and missing:
        count = f"{len(missing):,} of {len(samples.classes):,} classes"
        warn_once(f"{listing.root}: the {split} split has no image of {count}: {some(missing)}")
    return samples


def _merged(listing: folders.Listing) -> folders.Listing:
    """The labelled files of all splits as one split."""
    pairs = [pair for split, files in listing.files.items() if split != "evaluation" for pair in files]
    if not pairs:
        raise InputError(f"{listing.root} has no labelled image")
    return replace(listing, files={"all": tuple(pairs)})


def _file_samples(spec: DataSpec, listing: folders.Listing, split: str) -> Samples:
    paths = tuple(path for path, _ in listing.files[split])
    label_N = np.array([label for _, label in listing.files[split]], np.int64)
    samples = _indexed(split, listing.root, paths, label_N, listing.classes, spec.bad_files, spec.threads)
    if split == "train":
        lost = [name for name in _missing(samples) if listing.classes.index(name) in label_N]
        if lost:
            raise InputError(
                f"{listing.root}: every image of {some(lost)} in train is bad: repair some, or remove the class"
            )
    return samples


def _missing(samples: Samples) -> list[str]:
    """Classes without a sample."""
    present = set(samples.label_N.tolist())
    return [name for label, name in enumerate(samples.classes) if label not in present]


def _indexed(
    split: str,
    root: Path,
    paths: tuple[str, ...],
    label_N: NDArray[np.int64],
    classes: tuple[str, ...],
    bad_files: BadFiles,
    threads: int,
) -> Samples:
    """Samples of the good files among these."""
    table = index.scan(root, paths, threads)
    if not table.ok.all():
        _report_bad(table, bad_files)
    samples = Samples(
        split=split,
        classes=classes,
        key_N=paths,
        label_N=label_N,
        size_N2=table.size_N2,
        row_N=np.arange(len(paths)),
        images=table.images(),
    )
    return samples.select(np.flatnonzero(table.ok))


def _report_bad(table: index.Index, bad_files: BadFiles) -> None:
    """Raise InputError for bad files; if they are left out and some file is good, log a warning instead."""
    bad_rows = np.flatnonzero(~table.ok)
    named = "; ".join(f"{table.path_N[row]}: {table.reason_N[row]}" for row in bad_rows[:NAMED_BAD_FILES])
    more = f"; and {len(bad_rows) - NAMED_BAD_FILES} more" if len(bad_rows) > NAMED_BAD_FILES else ""
    text = f"{table.root}: {len(bad_rows)} of {len(table.path_N)} files cannot be used: {named}{more}"
    if not table.ok.any():
        raise InputError(f"{text}. None is left")
    if bad_files == "error":
        raise InputError(f"{text}. Repair or remove them, or leave them out with data.bad_files: skip")
    warn_once(f"{text}. They are left out (data.bad_files: skip)")
