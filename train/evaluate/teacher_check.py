"""A teacher put to the test on some validation images before it teaches."""

from __future__ import annotations

import logging

from accelerate import Accelerator

from configs.figures import percent
from configs.intervals import near_chance, wilson
from data_pipes.sources.samples import Samples
from train import guards
from train.config import TrainConfig
from train.evaluate.evaluation import evaluate
from train.live_teacher import LiveTeacher
from train.loaders import FEW_IMAGES, evaluation_loader
from train.processes import dtype_of
from train.progress import say_once

logger = logging.getLogger(__name__)
CHANCE = "no better than chance"
"""Marks the warning, which the adoption of a teacher may have given already."""


def check(teacher: LiveTeacher, config: TrainConfig, validation: Samples, accelerator: Accelerator) -> None:
    """Measure a teacher on `distill.teacher_check` validation images; with 0, do nothing. Collective.

    A warning is logged if it is no better than chance. InputError: logits are not finite, or it is far below the
    accuracy that its file records.
    """
    count = config.loss.teacher_check
    if count == 0:
        return
    few, dtype = validation.select(validation.spread(count)), dtype_of(config.precision)
    loader = evaluation_loader(accelerator, few, config.data, FEW_IMAGES, dtype)
    scores = evaluate(accelerator, teacher.model, loader.epoch(0), len(validation.classes), who="teacher")
    loader.close()
    guards.require_defined(scores.undefined, scores.count, teacher.name)
    recorded = teacher.card.scores.get("validation")
    if recorded is not None:
        guards.require_accuracy(scores.correct, scores.count, recorded.accuracy, "validation")
    say_once(logger, f"teacher: {percent(scores.accuracy)} of {scores.count} validation images are right")
    if near_chance(scores.correct, scores.count, len(validation.classes)):
        say_once(logger, _no_better(teacher.name, scores.correct, scores.count), CHANCE, logging.WARNING)


def _no_better(who: str, correct: int, count: int) -> str:
    low, high = (percent(bound, 1) for bound in wilson(correct, count))
    return (
        f"{who} is no better than chance on validation (95 % interval {low} to {high}): its data set, the order of its "
        "classes, size, mean or std may be others, or it was not trained to its end"
    )
