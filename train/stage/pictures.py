"""Pictures of a finished run: training images in several views, the confusion matrix, the curves of its training."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from configs.errors import InputError
from configs.figures import percent
from configs.files import write_atomically
from data_pipes import contact_sheet
from data_pipes.sources.samples import Samples
from models import artefact
from models.spec import names_file
from train.charts import classes, curves, picture, series
from train.config import TrainConfig
from train.evaluate.metrics import Scores
from train.loop import Loop
from train.track.tracker import PICTURES

logger = logging.getLogger(__name__)
IMAGES, VIEWS = 10, 4


def write(loop: Loop, scores: Scores, split: str) -> dict[str, Path]:
    """Draw all, on the main process; return the files that wandb takes by name. What cannot be drawn is left out.

    scores: on the split.
    """
    samples, config = loop.train_loader.dataset, loop.config
    drawn: dict[str, Callable[[], bytes]] = {
        "images": lambda: sheet(config, samples),
        "confusion": lambda: confusion(scores, samples.classes, f"{config.run_dir}, {split}"),
        "curves": lambda: training(loop.folder.metrics, config, loop.state.progress.best_epoch + 1),
    }
    paths = {}
    for name, draw in drawn.items():
        path = loop.folder.path / f"{name}.png"
        try:
            write_atomically(path, draw())
            paths[name] = path
        except Exception as error:  # whatever fonts, images that are gone by now, or a full disk raise
            logger.warning("%s is not drawn: %s: %s", path, type(error).__name__, error)
    return {name: path for name, path in paths.items() if name in PICTURES}


def sheet(config: TrainConfig, samples: Samples) -> bytes:
    """PNG: some training images over the classes, each in its evaluation view and its first random views."""
    # The host executor: a few images are not worth a canvas or a GPU.
    spec, views = replace(config.data, executor="host"), min(VIEWS, len(config.view_numbers))
    drawn = contact_sheet.draw(spec, samples, images=IMAGES, views=views, seed=config.plan_seed)
    content = io.BytesIO()
    drawn.save(content, format="png")
    return content.getvalue()


def confusion(scores: Scores, names: tuple[str, ...], title: str) -> bytes:
    """PNG: a row per label, a column per answer; shades are shares of the row, numbers are counts."""
    told = f"{title}: {percent(scores.accuracy)} of {scores.count:,} images"
    return picture.file([classes.confusion(scores.confusion, names, title=told)])


def training(metrics: Path, config: TrainConfig, best: int) -> bytes:
    """PNG of the curves in metrics.jsonl. InputError: there are none.

    best: the epoch, counted from 1, whose weights were kept.
    """
    panels = curves.panels(series.read(metrics), best=best, teacher=_teacher_accuracy(config.teacher_file))
    if not panels:
        raise InputError(f"{metrics} has no curves")
    return picture.file(list(panels.values()), title=config.run_dir)


def _teacher_accuracy(file: str | None) -> float | None:
    """The teacher's accuracy on validation as its own file has it."""
    if file is None or not names_file(file) or not Path(file).exists():
        return None
    score = artefact.read_card(file).scores.get("validation")
    return None if score is None else score.accuracy
