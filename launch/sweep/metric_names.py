"""Names of the metrics that a sweep may compare its runs by. Free of torch."""

from __future__ import annotations

from launch.commands import find
from train.config import DistillConfig
from train.loss import config as loss
from train.track.tracker import CURVES, CUT_CURVES

RESULT = (
    *("validation_accuracy", "best_epoch", "epochs", "parameters", "nonzero", "macs", "bytes", "seconds"),
    "images_per_second",
)
"""Numbers of result.json, known once a run is done. Without accuracy, which may be measured on test."""
TERMS = (*(f"train/{term.name}" for term in loss.TERMS if not term.needs), "train/gradient_norm")
"""Metrics that training logs besides CURVES, depending on the config."""
TEACHER_TERMS = tuple(f"train/{term.name}" for term in loss.TERMS if term.needs)
"""Metrics that distillation adds."""


def metric_names(command: str) -> tuple[str, ...]:
    """The metrics that a command logs. Trainings of a chain have wandb runs of their own."""
    if command == "train.compress":
        return RESULT
    if command == "train.prune":
        return (*CUT_CURVES, "parameters")
    curves = tuple(name for name in CURVES if name != "train/step")
    return (*RESULT, *curves, *TERMS, *(TEACHER_TERMS if issubclass(find(command).config, DistillConfig) else ()))
