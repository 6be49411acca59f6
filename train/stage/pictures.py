"""Pictures of a finished run: images.png, training images in several views; confusion.png, the confusion matrix."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from configs import charts
from configs.figures import percent
from configs.files import write_atomically
from configs.shown import printable
from data_pipes import contact_sheet
from data_pipes.sources.samples import Samples
from train.config import TrainConfig
from train.evaluate.metrics import Scores
from train.loop import Loop

logger = logging.getLogger(__name__)
IMAGES, VIEWS = 6, 4
MOST_NAMED = 40  # classes whose names are written at the axes
MOST_COUNTED = 15  # classes up to which there is room for numbers


def write(loop: Loop, scores: Scores) -> dict[str, Path]:
    """Draw both, on the main process; return the files by name. A picture that cannot be drawn is left out."""
    samples = loop.train_loader.dataset
    drawn: dict[str, Callable[[], bytes]] = {
        "images": lambda: sheet(loop.config, samples),
        "confusion": lambda: confusion(scores, samples.classes),
    }
    paths = {}
    for name, draw in drawn.items():
        path = loop.folder.path / f"{name}.png"
        try:
            write_atomically(path, draw())
            paths[name] = path
        except Exception as error:  # whatever fonts, images that are gone by now, or a full disk raise
            logger.warning("%s is not drawn: %s: %s", path, type(error).__name__, error)
    return paths


def sheet(config: TrainConfig, samples: Samples) -> bytes:
    """PNG: some training images over the split, each in its evaluation view and its first random views."""
    # The host executor: a few images are not worth a canvas or a GPU.
    spec, views = replace(config.data, executor="host"), min(VIEWS, len(config.view_numbers))
    picture = contact_sheet.draw(spec, samples, images=IMAGES, views=views, seed=config.plan_seed)
    content = io.BytesIO()
    picture.save(content, format="png")
    return content.getvalue()


def confusion(scores: Scores, classes: tuple[str, ...]) -> bytes:
    """PNG: a row per label, a column per answer; shades are shares of the row, numbers are counts."""
    from matplotlib.figure import Figure

    count_KK = np.asarray(scores.confusion)
    share_KK = count_KK / np.maximum(count_KK.sum(axis=1, keepdims=True), 1)
    side = min(3 + 0.3 * len(classes), 14)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(share_KK, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="answer", ylabel="label", title=f"{percent(scores.accuracy)} of {scores.count:,} images")
    if len(classes) <= MOST_NAMED:
        names = [printable(name) for name in classes]
        plain = {"parse_math": False}  # a class may be called $5
        axes.set_xticks(range(len(names)), names, rotation=90, **plain)
        axes.set_yticks(range(len(names)), names, **plain)
    if len(classes) <= MOST_COUNTED:
        for label, answer in zip(*np.nonzero(count_KK), strict=True):
            shade = "white" if share_KK[label, answer] > 0.5 else "black"
            text = axes.text(
                answer, label, str(count_KK[label, answer]), ha="center", va="center", color=shade, fontsize=8
            )
            text.set_in_layout(False)  # it lies within the axes; the layout need not measure it
    return charts.png(figure)
