"""Data sets of image files: their folders are walked once for all splits, and each list of files is indexed once."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from configs.errors import InputError
from data_pipes.sources import folders, index
from data_pipes.sources.folders import Files, Listing
from data_pipes.sources.food11 import food11
from data_pipes.sources.image_files import some, warn_once
from data_pipes.sources.samples import UNLABELLED, Samples
from data_pipes.spec import DataSpec

BadFiles = Literal["error", "skip"]
NAMED_BAD_FILES = 5


class FileSet:
    """The files of a data set as they are when they are first looked at."""

    def __init__(self, spec: DataSpec, root: Path) -> None:
        self._spec, self._root = spec, root
        self._passes: dict[str, index.Pass] = {}
        self._samples: dict[str, Samples] = {}

    @cached_property
    def listing(self) -> Listing:
        """Names and labels of the files of each split; no image is read.

        UsageError: the data set is not there. InputError: its folders or labels contradict each other.
        """
        spec = self._spec
        if spec.source != "food11":
            return folders.class_folders(self._root, class_depth=spec.class_depth, follow_links=spec.follow_links)
        listing = food11(self._root, follow_links=spec.follow_links)
        return listing if spec.classes is None else _named(listing, spec.classes)

    def publish(self, split: str) -> Path | None:
        """See `index.Pass.publish`; `split` is one of the listing's."""
        return self._pass(split).publish()

    def load(self, split: str) -> Samples:
        """The good samples of a split of the listing, or of `all`: the labelled ones of all splits together.

        Errors: see `source.load`.
        """
        if split not in self._samples:
            self._samples[split] = self._load(split)
        return self._samples[split]

    def _files(self, split: str) -> Files:
        files = self.listing.files
        if split != "all":
            return files[split]
        pairs = [pair for name, pairs in files.items() if name != "evaluation" for pair in pairs]
        if not pairs:
            raise InputError(f"{self.listing.root} has no labelled image")
        return tuple(pairs)

    def _pass(self, split: str) -> index.Pass:
        if split not in self._passes:
            paths = tuple(path for path, _ in self._files(split))
            self._passes[split] = index.Pass.over(self.listing.root, paths)
        return self._passes[split]

    def _load(self, split: str) -> Samples:
        spec, classes, own = self._spec, self.listing.classes, self._pass(split)
        label_N = np.array([label for _, label in self._files(split)], np.int64)
        samples = _samples(split, own.run(spec.threads), label_N, classes, spec.bad_files)
        if split == "train":
            lost = [name for name in missing(samples) if classes.index(name) in label_N]
            if lost:
                raise InputError(
                    f"{own.root}: every image of {some(lost)} in train is bad: repair some, or remove the class"
                )
        return samples


def unlabelled(root: Path, paths: tuple[str, ...], bad_files: BadFiles, threads: int) -> Samples:
    """Good files below a root as samples without labels. Errors: see `source.load`."""
    label_N = np.full(len(paths), UNLABELLED, np.int64)
    return _samples("unlabelled", index.scan(root, paths, threads), label_N, (), bad_files)


def missing(samples: Samples) -> list[str]:
    """Classes without a sample."""
    present = set(samples.label_N.tolist())
    return [name for label, name in enumerate(samples.classes) if label not in present]


def _named(listing: Listing, classes: tuple[str, ...]) -> Listing:
    last, path = max(((label, path) for pairs in listing.files.values() for path, label in pairs))
    if last >= len(classes):
        raise InputError(
            f"{listing.root / path} is of class {last}, but data.classes names {len(classes)} classes, from 0 on"
        )
    return replace(listing, classes=classes)


def _samples(
    split: str, table: index.Index, label_N: NDArray[np.int64], classes: tuple[str, ...], bad_files: BadFiles
) -> Samples:
    """Samples of the good files of an index."""
    ok_N = table.ok
    if not ok_N.all():
        _report_bad(table, bad_files)
    samples = Samples(
        split=split,
        classes=classes,
        key_N=table.path_N,
        label_N=label_N,
        size_N2=table.size_N2,
        row_N=np.arange(len(table.path_N)),
        images=table.images(),
    )
    return samples if ok_N.all() else samples.select(np.flatnonzero(ok_N))


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
