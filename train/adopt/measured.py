"""Accuracy of a network from elsewhere on a data set, in its own size and normalisation."""

from __future__ import annotations

import logging
from dataclasses import replace

from accelerate import Accelerator
from torch import nn

from configs.figures import percent
from configs.intervals import near_chance, wilson
from data_pipes.sources import source
from data_pipes.sources.folders import composed
from data_pipes.spec import DataSpec
from models import artefact
from models.adopt import conversion
from models.adopt.conversion import Wanted
from models.adopt.options import Options
from models.artefact import Card, Score
from train import guards, saved
from train.evaluate.evaluation import evaluate
from train.evaluate.teacher_check import CHANCE
from train.loaders import choose_executor, evaluation_loader
from train.processes import builders_first, start
from train.progress import say_once

logger = logging.getLogger(__name__)


def write(asked: Options, data: DataSpec) -> Card:
    """Adopt what a command line names for a data set, measure it, and write it; return its card."""
    accelerator = start("float32")
    asked = replace(asked, classes=tuple(map(composed, asked.classes)) if asked.classes else None)
    net, card = conversion.from_options(asked, wanted(data))
    card = scored(net, card, data, accelerator, asked.source)
    artefact.save(asked.output, net, card)
    return card


def wanted(data: DataSpec) -> Wanted:
    """Return what a data set says about a network that is to see it. No image is read."""
    return Wanted(
        input_CHW=(data.channels, *data.image_size),
        mean=data.mean,
        std=data.std,
        eval_crop=data.eval_crop,
        classes=source.class_names(data),
    )


def scored(net: nn.Module, card: Card, data: DataSpec, accelerator: Accelerator, name: str) -> Card:
    """Return a card with the accuracy on validation, or on test where the data set has nothing else. Collective.

    name: the weights, for messages. A warning is logged if they are no better than chance. InputError: logits are NaN
    or infinite.
    """
    shown = saved.shown(data, card)
    split: source.Split = "validation" if "validation" in source.splits(data) else "test"
    samples = builders_first(accelerator, lambda: source.load(shown, split))
    chosen = choose_executor(accelerator, shown, samples)
    loader = evaluation_loader(accelerator, samples, shown, chosen)
    net.to(accelerator.device)
    scores = evaluate(accelerator, net, loader.epoch(0), len(samples.classes))
    loader.close()
    net.to("cpu")
    guards.require_defined(scores.undefined, scores.count, name)
    logger.info("%s of %s %s images are right", percent(scores.accuracy), f"{scores.count:,}", split)
    if near_chance(scores.correct, scores.count, len(samples.classes)):
        low, high = (percent(bound, 1) for bound in wilson(scores.correct, scores.count))
        text = (
            f"this is no better than chance (95 % interval {low} to {high}): the order of the classes, mean, std, size "
            "or stem may be others; python -m models.adopt has options for each"
        )
        say_once(logger, text, CHANCE, logging.WARNING)
    return replace(card, scores=dict(card.scores) | {split: Score(correct=scores.correct, total=scores.count)})
