"""A finished network and the data settings that it was trained with."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from configs import records
from configs.home import expand
from data_pipes.spec import DataSpec
from models import artefact, state_dicts
from models.artefact import Card
from train.loss.config import TeacherSize
from train.run_folder.run_dir import RunDir


def load(run_dir: str | None, weights: str | None, data: DataSpec) -> tuple[nn.Module, Card, DataSpec]:
    """Return the network, its card, and the data spec with the network's own size, crop and normalisation.

    InputError: the file is missing, damaged or foreign, or a weight is not a finite number.
    """
    path = weights_file(run_dir, weights)
    net, card = artefact.load(path)
    state_dicts.require_finite(net, path)
    return net, card, shown(data, card)


def shown(data: DataSpec, card: Card) -> DataSpec:
    """Return a data spec with a network's own size, crop and normalisation."""
    return replace(data, image_size=card.input_CHW[1:], mean=card.mean, std=card.std, eval_crop=card.eval_crop)


def weights_file(run_dir: str | None, weights: str | None) -> Path:
    """The file of a network: the one that is named, or the run's own."""
    if weights is None:
        assert run_dir is not None, "the config requires one of the two"
        return RunDir.at(run_dir).weights
    return Path(weights)


def teacher_size(run_dir: str | None) -> TeacherSize:
    """Return the teacher_size of a run, or of a chain's last stage."""
    config = _config(run_dir)
    for section in (config, config.get("cut"), config.get("student")):
        distill = section.get("distill") if isinstance(section, dict) else None
        if distill:
            return "own" if distill.get("teacher_size") == "own" else "student"
    return "student"


def own_data(run_dir: str | None, data: DataSpec) -> bool | None:
    """Whether a data spec names the data set of a run; None: its folder has no config. Without a run, it does not."""
    if run_dir is None:
        return False
    own = _config(run_dir).get("data")
    if not own:
        return None
    return (own.get("source"), _place(own.get("root"))) == (data.source, _place(data.root))


def _place(root: str | None) -> str | None:
    return None if root is None else os.path.realpath(expand(root))


def _config(run_dir: str | None) -> dict[str, Any]:
    path = None if run_dir is None else RunDir.at(run_dir).config
    return records.from_yaml(path) if path is not None and path.exists() else {}
