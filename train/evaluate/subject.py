"""What train.evaluate measures: the images, labelled as the network counts its classes, and the report's file."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from configs.errors import InputError
from configs.home import expand
from data_pipes.sources import source
from data_pipes.sources.cifar import CIFAR_CLASSES
from data_pipes.sources.folders import composed
from data_pipes.sources.idx import FASHION_CLASSES
from data_pipes.sources.image_files import some
from data_pipes.sources.samples import Samples
from data_pipes.spec import DataSpec
from train import guards, saved
from train.evaluate.config import EvaluateConfig
from train.run_folder import split_record
from train.run_folder.run_dir import RunDir
from train.run_folder.split_record import Content
from train.stage.origin import was_trained_on

logger = logging.getLogger(__name__)
NAMED = (FASHION_CLASSES, CIFAR_CLASSES)
"""Classes of data sets that are known by name: other data that only numbers its classes has others."""


def samples(config: EvaluateConfig, data: DataSpec, known: Sequence[str], trained_on: str | None = None) -> Samples:
    """Load the images of the split that is asked for, labelled by the network's classes.

    known: the network's classes. trained_on: fingerprint of its training images, as its lineage has it; those of an
    ensemble's members are parted by commas.
    InputError: the images have no labels, or classes that the network does not know.
    """
    own = saved.own_data(config.run_dir, config.data) is True
    record = split_record.read(RunDir.at(config.run_dir).path) if own and config.run_dir is not None else None
    found = labelled(data, config.split, own=own, trained_on=trained_on, record=record)
    found = by_name(found, known) if data.source == "folder" else by_number(found, known, data.source)
    logger.info("data: %s images (%s)", f"{len(found):,}", found.split)
    return found


def labelled(
    data: DataSpec,
    split: str,
    *,
    own: bool,
    trained_on: str | None = None,
    record: Mapping[Content, str] | None = None,
) -> Samples:
    """Load a labelled split; auto chooses one.

    own: the data set is known to be the one of the training. record: the split of each image in that training.
    """
    if split == "auto":
        split = _best_split(data, own=own, trained_on=trained_on)
    if split == "validation" and data.facts.files and source.is_cut(data):
        return _validation(data, own=own, trained_on=trained_on, record=record)
    found = source.load(data, split)  # type: ignore[arg-type]
    if not found.labelled:
        raise InputError(f"the {split} split has no labels to compare with; train.predict writes predictions for it")
    return found


def _best_split(data: DataSpec, *, own: bool, trained_on: str | None) -> str:
    if "test" in source.splits(data):
        return "test"
    if own or not source.undivided(data):
        return "validation"
    known = [] if trained_on is None else str(trained_on).split(",")  # a file may hold anything
    if not any(_is_of(data, fingerprint) for fingerprint in known):
        return "all"
    logger.info("the network was trained on this folder: its validation split is measured, unless --split all")
    if len(known) > 1:
        logger.warning("its members were trained on different images: some of these may have been trained on")
    return "validation"


def _is_of(data: DataSpec, trained_on: str) -> bool:
    """Whether a network was trained on images of a folder; no: there are too few images to cut a validation split."""
    try:
        return was_trained_on(data, trained_on)
    except InputError:
        return False


def _validation(data: DataSpec, *, own: bool, trained_on: str | None, record: Mapping[Content, str] | None) -> Samples:
    """Load a validation split that is cut from files, without an image that the network was trained on."""
    if record is not None:
        return _recorded(source.whole(data), record)
    found = source.load(data, "validation")
    if not own or trained_on in (None, source.load(data, "train").fingerprint):
        return found
    before, validation = source.cut_by_position(data)
    if trained_on == before.fingerprint:
        return validation
    logger.warning("other images than in the training are in %s: some of these may have been trained on", data.root)
    return found


def _recorded(images: Samples, record: Mapping[Content, str]) -> Samples:
    """Return those that a run validated on. InputError: none is left."""
    split_N = np.array([record.get(content, "new") for content in images.contents()])
    rows = np.flatnonzero(split_N == "validation")
    if len(rows) == 0:
        raise InputError("none of the images that the run validated on is left in data.root; --split all measures all")
    if new := int((split_N == "new").sum()):
        logger.info("%s images that are newer than the run are left out; --split all measures all", f"{new:,}")
    return images.select(rows, split="validation")


def by_name(found: Samples, known: Sequence[str]) -> Samples:
    """Number the classes of a folder as the network does, which may know more of them, and in another order.

    InputError: the network does not know a class.
    """
    number = {composed(name): place for place, name in enumerate(known)}
    foreign = [name for name in found.classes if name not in number]
    if foreign:
        raise InputError(
            f"the network does not know the classes {some(foreign)}; it knows {some(list(known))}. Rename their "
            "folders, or leave them out"
        )
    if tuple(number) == found.classes:
        return found
    new = np.array([number[name] for name in found.classes], np.int64)
    lacking = [name for name in number if name not in found.classes]
    if lacking:
        logger.info("no folder has the classes %s: scores are over the other %d", some(lacking), len(found.classes))
    return replace(found, classes=tuple(known), label_N=new[found.label_N])


def by_number(found: Samples, known: Sequence[str], source_name: str) -> Samples:
    """Number the classes of a data set whose labels are numbers as the network does.

    Where one of the two has no names, labels count as they are, with a warning. InputError: names differ, or there are
    more labels than the network has classes.
    """
    nameless = source_name in ("idx", "food11") and _numbered(found.classes) and tuple(known) not in NAMED
    unnamed = source_name == "food11" and _numbered(known)
    fits = len(found.classes) <= len(known) if source_name == "food11" else len(found.classes) == len(known)
    if tuple(known) == found.classes or not fits or not (nameless or unnamed):
        guards.require_classes(known, found.classes, "the network")
        return found
    logger.warning(
        "%s has no names of classes: labels count as they are", "the data set" if nameless else "the network"
    )
    return replace(found, classes=tuple(known))


def _numbered(classes: Sequence[str]) -> bool:
    return tuple(classes) == tuple(map(str, range(len(classes))))


def report_path(config: EvaluateConfig, split: str) -> Path:
    """The file of the report: evaluation-SPLIT.json for the run's own weights and data without tta, or another."""
    if config.output is not None:
        return Path(config.output)
    tags = _tags(config.weights, config.run_dir)
    if saved.own_data(config.run_dir, config.data) is False:
        root = config.data.root
        tags.append(config.data.source if root is None else expand(root).resolve().name)
    if config.tta != "none":
        tags.append(config.tta)
    folder = Path() if config.run_dir is None else RunDir.at(config.run_dir).path
    return folder / f"{'-'.join(['evaluation', *tags, split])}.json"


def _tags(weights: str | None, run_dir: str | None) -> list[str]:
    """Which weights these are; nothing for the run's own."""
    if weights is None:
        return []
    path = Path(weights).resolve()
    if run_dir is None:
        return [path.stem]
    home = RunDir.at(run_dir).path.resolve()
    if path == RunDir(home).weights:
        return []
    return list(path.relative_to(home).with_suffix("").parts) if path.is_relative_to(home) else [path.stem]
