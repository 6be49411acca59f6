"""What a sweep may compare its runs by: the names under which a run's numbers are in wandb. Free of torch."""

from __future__ import annotations

from train.track.tracker import CURVES, CUT_CURVES

RESULT = (
    *("validation_accuracy", "best_epoch", "epochs", "parameters", "nonzero", "macs", "bytes", "seconds"),
    "images_per_second",
)
"""Numbers of result.json that compare runs, known once a run is done. Not accuracy, which may be that on test."""
TERMS = ("train/ce", "train/gradient_norm")
"""What training logs besides train.track.CURVES, as far as the config asks for it."""
TEACHER_TERMS = ("train/kd", "train/dkd", "train/hint", "train/attention")
"""What distillation adds."""


def metric_names(command: str) -> tuple[str, ...]:
    """What the run of a command logs. A chain's is not that of its trainings, which have runs of their own."""
    if command == "train.compress":
        return RESULT
    if command == "train.prune":
        return (*CUT_CURVES, "parameters")
    curves = tuple(name for name in CURVES if name != "train/step")
    return (*RESULT, *curves, *TERMS, *(TEACHER_TERMS if command == "train.distill" else ()))
