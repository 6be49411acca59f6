"""The row of an epoch in metrics.jsonl, and the line that says what limits a run."""

from __future__ import annotations

from collections.abc import Mapping

from configs.figures import percent
from train.evaluate.metrics import Scores

LIMITS = {
    "data": "loading images limits the run: `python -m launch.bench` compares the ways to load them",
    "teacher": "the teacher limits the run; with distill.teacher_logits write_through, only where a view is new",
    "step": "the step itself (forward, backward, update) limits the run",
    "evaluation": "evaluation limits the run",
}
SHORT = 1.0
"""Seconds of an epoch below which nobody waits for it."""


def row(
    means: Mapping[str, float],
    seconds: Mapping[str, float],
    scores: Scores,
    *,
    lr: float,
    images: float,
    taught: bool,
    compared: bool,
) -> dict[str, float]:
    """Return the measurements of an epoch by their names in metrics.jsonl, but the number of the epoch.

    Args:
        means: Of the epoch's micro-batches and images.
        seconds: By part, as in `clock`.
        scores: On validation.
        lr: Learning rate of the last step.
        images: Training images of the epoch.
        taught: Whether there is a teacher.
        compared: Whether its answers on validation are known.
    """
    validation = {"loss": scores.loss, "accuracy": scores.accuracy}
    if compared:
        validation["agreement"] = scores.agreement
    parts = [part for part in LIMITS if taught or part != "teacher"]
    return {
        **{f"train/{name}": value for name, value in means.items()},
        "train/lr": lr,
        "train/images_per_second": images / max(seconds["training"], 1e-9),
        **{f"validation/{name}": value for name, value in validation.items()},
        **{f"seconds/{part}": seconds[part] for part in parts},
    }


def limit(seconds: Mapping[str, float]) -> str | None:
    """Return the part that takes most of an epoch; None if the epoch is too short for it to matter."""
    if seconds["training"] + seconds["evaluation"] < SHORT:
        return None
    return max(LIMITS, key=lambda part: seconds[part])


def profile(seconds: Mapping[str, float]) -> str:
    """Return the shares of an epoch's time, and what limits the run, as one line."""
    total = max(seconds["training"] + seconds["evaluation"], 1e-9)
    shares = ", ".join(f"{part} {percent(seconds[part] / total, 0)}" for part in LIMITS if seconds[part] > 0)
    return f"of {total:.1f} s per epoch: {shares}; {LIMITS[max(LIMITS, key=lambda part: seconds[part])]}"
