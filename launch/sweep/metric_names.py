"""Names of the metrics that a sweep may compare its runs by. Free of torch."""

from __future__ import annotations

from launch.commands import find
from train.config import DistillConfig
from train.loss import config as loss
from train.track.tracker import CURVES, CUT_CURVES, STEP_CURVES, TEACHER_CURVES

RESULT = (
    *("validation_accuracy", "best_epoch", "epochs", "passes", "parameters", "nonzero", "macs", "bytes", "seconds"),
    "images_per_second",
)
"""Numbers of result.json, known once a run is done. Without accuracy, which may be measured on test."""
PREFIXES = ("train", "step")
"""Of an epoch, and of the steps since the last line."""
TERMS = tuple(f"{prefix}/{term.name}" for prefix in PREFIXES for term in loss.TERMS if not term.needs)
"""Metrics that training logs besides CURVES and STEP_CURVES, depending on the config."""
TEACHER_TERMS = tuple(f"{prefix}/{term.name}" for prefix in PREFIXES for term in loss.TERMS if term.needs)
"""Metrics that distillation adds, besides TEACHER_CURVES."""


def metric_names(command: str) -> tuple[str, ...]:
    """The metrics that a command logs. Trainings of a chain have wandb runs of their own."""
    if command == "train.compress":
        return RESULT
    if command == "train.prune":
        return (*CUT_CURVES, "parameters")
    curves = tuple(name for name in (*CURVES, *STEP_CURVES) if name != "train/step")
    taught = (*TEACHER_CURVES, "step/agreement", *TEACHER_TERMS)
    return (*RESULT, *curves, *TERMS, *(taught if issubclass(find(command).config, DistillConfig) else ()))
