"""A finished network and the data settings that it was trained with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import yaml
from torch import nn

from data_pipes.spec import DataSpec
from models import artefact
from models.artefact import Card
from train.loss.config import TeacherSize
from train.run_folder.run_dir import RunDir


def load(run_dir: str, weights: str | None, data: DataSpec) -> tuple[nn.Module, Card, DataSpec]:
    """Return the network, its card, and the data spec with the network's own size, crop and normalisation."""
    net, card = artefact.load(Path(weights) if weights else RunDir.at(run_dir).weights)
    shown = replace(data, image_size=card.input_CHW[1:], mean=card.mean, std=card.std, eval_crop=card.eval_crop)
    return net, card, shown


def teacher_size(run_dir: str) -> TeacherSize:
    """Return the teacher_size of a run, or of a chain's last stage."""
    path = RunDir.at(run_dir).config
    config = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
    for section in (config, config.get("cut"), config.get("student")):
        distill = section.get("distill") if isinstance(section, dict) else None
        if distill:
            return "own" if distill.get("teacher_size") == "own" else "student"
    return "student"
