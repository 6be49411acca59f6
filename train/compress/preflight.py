"""Checks of a chain's later stages, made before the first is trained."""

from __future__ import annotations

import torch
from torch import nn

from configs.errors import under
from data_pipes.sources import source
from models import zoo
from models.spec import ModelSpec
from models.taps import Taps
from train.compress.config import CompressConfig
from train.prune import cut
from train.run_folder.run_dir import RunDir
from train.stage import delivery


def require_possible(config: CompressConfig) -> None:
    """Refuse a student that cannot be built, tapped, saved or cut to the budget, unless its training has begun.

    UsageError and InputError as the stages raise them. No random state changes.
    """
    distillation, cuts = config.distillation(), config.cutting()
    folder = RunDir.at(distillation.run_dir)
    if folder.started:
        return
    classes = source.load(config.data, "train").classes
    with under("student.model"):
        student = _new(distillation.student, config, classes)
    losses = (distillation.distill, cuts.distill)
    for layers in {loss.student_layers for loss in losses}:
        Taps(student, layers).close()
    teaching = config.training()
    if teaching is not None and any(loss.needs_features for loss in losses):
        with under("teacher_training.model"):
            teacher = _new(teaching.model, config, classes)
        for layers in {loss.teacher_layers for loss in losses}:
            Taps(teacher, layers).close()
    card = delivery.card(distillation, student, classes=classes)
    delivery.require_saveable(student, card, folder)
    cut.require_reachable(cuts, student, card.input_CHW)


def _new(spec: ModelSpec, config: CompressConfig, classes: tuple[str, ...]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        return zoo.build(spec, num_classes=len(classes), input_CHW=(config.data.channels, *config.data.image_size))
