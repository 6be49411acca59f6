"""Samples of the data set in a DataSpec: the splits it has, and a validation split cut from train if it has none."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from configs.errors import InputError, UsageError
from configs.home import expand
from data_pipes.sources import arrays, cifar, file_set, folders, idx
from data_pipes.sources.file_set import BadFiles, FileSet
from data_pipes.sources.image_files import some, warn_once
from data_pipes.sources.images import ArrayImages, FileImages
from data_pipes.sources.samples import Samples
from data_pipes.sources.split import by_content, stratified
from data_pipes.spec import DataSpec, SourceName

Split = Literal["train", "validation", "test", "evaluation", "all"]
"""all: every labelled image of a data set of files."""

DIGITS_TEST_FRACTION = 0.2


class Source:
    """A data set. Files are listed when a split is first asked for, and then as they were for all splits."""

    def __init__(self, spec: DataSpec) -> None:
        self.spec = spec
        self._files = FileSet(spec, _root(spec)) if spec.facts.files else None

    @property
    def splits(self) -> tuple[str, ...]:
        """See `splits`."""
        if self._files is None:
            return ("test",) if self.spec.source == "cifar10.1" else ("train", "validation", "test")
        found = self._files.listing.files
        made = {"validation"} if "train" in found else set()
        order = ("train", "validation", "test", "evaluation")
        return tuple(split for split in order if split in found or split in made)

    def require_classes_to_tell_apart(self) -> None:
        """InputError: a data set of files has one class alone. Only names are read, no image."""
        listing = self._files.listing if self._files else None
        if listing is not None and len(listing.classes) == 1:
            raise InputError(
                f"{listing.root} has one class alone, {some(listing.classes)}; training needs at least two. A class is "
                "a folder of images in data.root or in train/; data.class_depth: 2 looks one level deeper"
            )

    def publish(self, split: Split) -> Path | None:
        """Write down which files `load` would examine, for processes that `index.assist`; None: few or none."""
        return self._files.publish(self._listed(split)) if self._files and split in self.splits else None

    def load(self, split: Split) -> Samples:
        """See `load`."""
        if self._files is None:
            _require_split(split, self.splits, self.spec)
            samples = _array_samples(self.spec, "test" if split == "test" else "train")
            return samples if split == "test" else _cut(samples, self.spec, split)
        if split == "all":
            return self._files.load("all")
        _require_split(split, self.splits, self.spec)
        samples = self._files.load(self._listed(split))
        if split in ("train", "validation") and self.is_cut:
            samples = _cut(samples, self.spec, split)
        missing = file_set.missing(samples)
        if samples.labelled and missing:
            count = f"{len(missing):,} of {len(samples.classes):,} classes"
            warn_once(f"{self._files.listing.root}: the {split} split has no image of {count}: {some(missing)}")
        return samples

    @property
    def is_cut(self) -> bool:
        """See `is_cut`."""
        return self._files is not None and "validation" not in self._files.listing.files

    def whole(self) -> Samples:
        """See `whole`."""
        assert self._files is not None
        return self._files.load("train")

    def _listed(self, split: Split) -> str:
        """The split of the listing that has the files of a split."""
        return "train" if split == "validation" and self.is_cut else split

    @property
    def classes(self) -> tuple[str, ...]:
        """See `class_names`."""
        if self._files is not None:
            return self._files.listing.classes
        match self.spec.source:
            case "idx":
                return self.spec.classes or idx.read_classes(_root(self.spec))
            case "cifar10":
                return cifar.cifar10_classes(_root(self.spec))
            case "cifar10.1":
                return cifar.CIFAR_CLASSES
            case _:
                return arrays.DIGIT_CLASSES

    @property
    def undivided(self) -> bool:
        """See `undivided`."""
        return self._files is not None and set(self._files.listing.files) <= {"train", "evaluation"}


def splits(spec: DataSpec) -> tuple[str, ...]:
    """The splits that `load` accepts for this spec."""
    return Source(spec).splits


def undivided(spec: DataSpec) -> bool:
    """Whether a data set of files is one set of labelled images, which brings no validation or test split."""
    return Source(spec).undivided


def require_classes_to_tell_apart(spec: DataSpec) -> None:
    """InputError: a data set of files has one class alone. Only names are read, no image."""
    Source(spec).require_classes_to_tell_apart()


def load(spec: DataSpec, split: Split) -> Samples:
    """The samples of one split, with files checked and validation cut from train if the data set has none.

    UsageError: the data set is not at data.root. InputError: it has no such split, it is damaged, it has bad image
    files (unless data.bad_files is skip), or skipping them leaves a class of train without images.
    """
    return Source(spec).load(split)


def is_cut(spec: DataSpec) -> bool:
    """Whether the validation split of a data set of files is cut from train, as files may come and go."""
    return Source(spec).is_cut


def whole(spec: DataSpec) -> Samples:
    """The images of a data set of files that train and a validation split that is cut from it share. As `load`."""
    return Source(spec).whole()


def cut_by_position(spec: DataSpec) -> tuple[Samples, Samples]:
    """Train and validation as they were cut from files before `by_content`, for networks of that time. As `load`."""
    images = whole(spec)
    return _cut(images, spec, "train", by_position=True), _cut(images, spec, "validation", by_position=True)


def class_names(spec: DataSpec) -> tuple[str, ...]:
    """The classes that `load` gives, in the order of the labels; no image is read.

    UsageError: the data set is not at data.root. InputError: its folders or labels contradict each other.
    """
    return Source(spec).classes


def unlabelled(bad_files: BadFiles, path: str | Path, *, threads: int = 0, follow_links: bool = False) -> Samples:
    """The images of a folder, or one file, for prediction: no labels, no classes, in natural order."""
    root, paths = folders.unlabelled(expand(path), follow_links=follow_links)
    return file_set.unlabelled(root, paths, bad_files, threads)


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
    """The images of a part of the data set. A process reads them once, as long as their files stay as they are."""
    if spec.source == "digits":
        # The test samples do not depend on the split seed.
        samples = _in_memory(arrays.digits(), part)
        train_rows, test_rows = stratified(samples.label_N, DIGITS_TEST_FRACTION, seed=0)
        return samples.select(test_rows if part == "test" else train_rows)
    states = [(str(file), file.stat()) for file in _array_files(spec, part)]
    known = tuple((name, state.st_ino, state.st_size, state.st_mtime_ns) for name, state in states)
    return _read_arrays(spec.source, _root(spec), part, spec.version, spec.classes, known)


def _array_files(spec: DataSpec, part: arrays.Part) -> Iterable[Path]:
    match spec.source:
        case "idx":
            return idx.files(_root(spec), part)
        case "cifar10":
            return [*cifar.cifar10_files(_root(spec), part), cifar.cifar10_meta(_root(spec))]
        case _:
            return cifar.cifar10_1_files(_root(spec), spec.version)


@lru_cache(maxsize=2)
def _read_arrays(
    source: SourceName,
    root: Path,
    part: arrays.Part,
    version: Literal["v4", "v6"],
    classes: tuple[str, ...] | None,
    states: tuple[tuple[str, int, int, int], ...],
) -> Samples:
    """states: of the files to read, so that changed ones are read again."""
    match source:
        case "idx":
            return _in_memory(idx.read(root, part, classes), part)
        case "cifar10":
            return _in_memory(cifar.cifar10(root, part), part)
        case "cifar10.1":
            return _in_memory(cifar.cifar10_1(root, version), part)
        case _:
            raise AssertionError(f"{source} is not an array data set")


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
