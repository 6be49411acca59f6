"""Scores of train.evaluate: measured, printed and written. K classes."""

from __future__ import annotations

import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from accelerate import Accelerator
from rich.table import Table
from rich.text import Text

from configs.figures import percent
from configs.intervals import wilson
from configs.tables import PlainConsole, plain_table
from data_pipes.sources.samples import Samples
from models import artefact
from models.networks.mirrored import Mirrored
from train import guards, live_teacher, saved
from train.adopt import on_the_fly
from train.config import Tta
from train.evaluate import reading, subject
from train.evaluate.config import EvaluateConfig
from train.evaluate.evaluation import evaluate
from train.evaluate.metrics import Scores
from train.live_teacher import LiveTeacher
from train.loaders import choose_executor, evaluation_loader
from train.processes import builders_first, start
from train.run_folder import own_code
from train.run_folder.run_dir import write_json

logger = logging.getLogger(__name__)
WIDEST = 20  # classes of a confusion matrix that still fits a terminal


def score(config: EvaluateConfig, *, teacher_asked_for: bool = True) -> None:
    """Run train.evaluate."""
    accelerator = start("float32")
    carry_out(config, accelerator, teacher_asked_for=teacher_asked_for)
    accelerator.end_training()


def carry_out(config: EvaluateConfig, accelerator: Accelerator, *, teacher_asked_for: bool = True) -> None:
    """Evaluate on all processes; the main one prints the scores and writes the report.

    teacher_asked_for: a missing teacher is an error; otherwise agreement is left out with a warning.
    """
    with TemporaryDirectory(prefix="heartcut-") as home:
        _carry_out(config, accelerator, home, teacher_asked_for=teacher_asked_for)


def _carry_out(config: EvaluateConfig, accelerator: Accelerator, home: str, *, teacher_asked_for: bool) -> None:
    """Evaluate; a teacher from elsewhere is adopted into the folder `home`."""
    own_code.register_run(config.run_dir, config.network)
    net, card, data = saved.load(config.run_dir, config.weights, config.data)
    taught = config.teacher is not None and (teacher_asked_for or Path(config.teacher).exists())
    size = config.teacher_size or saved.teacher_size(config.run_dir)
    file = on_the_fly.at_hand(str(config.teacher), data, accelerator, home) if taught else ""
    if taught:
        live_teacher.require_fit(file, data, size, key="teacher_size")
    samples = builders_first(accelerator, lambda: subject.samples(config, data, card.classes, card.lineage.get("data")))
    teacher = None
    if config.teacher is not None and not taught:
        logger.warning("the run's teacher %s is not there: agreement is not measured", config.teacher)
    elif config.teacher is not None:
        teacher = LiveTeacher.load(file, data, samples.classes, size=size)
        teacher.model.to(accelerator.device)
    net.to(accelerator.device)
    chosen = choose_executor(accelerator, data, samples)
    loader = evaluation_loader(accelerator, samples, data, chosen, batch_size=config.batch_size)
    if accelerator.is_main_process:
        reading.count(config, data, samples, net)
    measured = Mirrored(net) if config.tta == "hflip" else net
    scores = evaluate(accelerator, measured, loader.epoch(0), len(samples.classes), teacher=teacher)
    loader.close()
    weights = saved.weights_file(config.run_dir, config.weights)
    guards.require_defined(scores.undefined, scores.count, str(weights))
    if accelerator.is_main_process:
        path = subject.report_path(config, samples.split)
        known = config.teacher if teacher is not None else None
        write_json(path, record(scores, samples, artefact.sha256(weights), teacher=known, tta=config.tta))
        show(scores, samples, path, with_teacher=teacher is not None)


def record(scores: Scores, samples: Samples, weights: str, *, teacher: str | None, tta: Tta) -> dict[str, Any]:
    """Return all scores as plain values for JSON. weights: SHA-256 of the file that was evaluated."""
    return {
        "weights": weights,
        "split": samples.split,
        "tta": tta,
        "samples": scores.count,
        "accuracy": scores.accuracy,
        "accuracy_interval_95": wilson(scores.correct, scores.count),
        "top5": scores.top5 / scores.count,
        "top5_interval_95": wilson(scores.top5, scores.count),
        "per_class": {
            name: {"correct": correct, "samples": count, "interval_95": wilson(correct, count)}
            for name, (correct, count) in zip(samples.classes, scores.per_class(), strict=True)
        },
        "classes": samples.classes,
        "confusion": scores.confusion,
        "teacher": teacher,
        "teacher_agreement": scores.agreed / scores.count if teacher is not None else None,
        "data": samples.fingerprint,
    }


def show(scores: Scores, samples: Samples, path: Path, *, with_teacher: bool) -> None:
    """Print the scores."""
    console = PlainConsole()
    console.print(_summary(scores, samples, with_teacher=with_teacher))
    console.print(_classes(scores, samples))
    if len(samples.classes) <= WIDEST:
        console.print(_confusion(scores, samples))
    console.print(str(path), style="dim", soft_wrap=True)


def _summary(scores: Scores, samples: Samples, *, with_teacher: bool) -> Table:
    table = plain_table(f"{samples.split}: {scores.count:,} images")
    for column in ("", "share", "95 % interval"):
        table.add_column(column, justify="right" if column else "left")
    rows = [("top-1", scores.correct), ("top-5", scores.top5)]
    rows += [("agrees with the teacher", scores.agreed)] if with_teacher else []
    for name, count in rows:
        low, high = wilson(count, scores.count)
        table.add_row(name, percent(count / scores.count), f"{percent(low)} to {percent(high)}")
    return table


def _classes(scores: Scores, samples: Samples) -> Table:
    table = plain_table("by class")
    for column in ("class", "images", "right", "95 % interval", "most often taken for"):
        table.add_column(column, justify="left" if column in ("class", "most often taken for") else "right")
    for number, (name, (correct, count)) in enumerate(zip(samples.classes, scores.per_class(), strict=True)):
        low, high = wilson(correct, count)
        wrong = [0 if i == number else v for i, v in enumerate(scores.confusion[number])]
        worst = max(range(len(wrong)), key=wrong.__getitem__)
        other = f"{samples.classes[worst]} ({wrong[worst]})" if wrong[worst] else ""
        share = percent(correct / count, 1) if count else "none"
        table.add_row(name, str(count), share, f"{percent(low, 1)} to {percent(high, 1)}", other)
    return table


def _confusion(scores: Scores, samples: Samples) -> Table:
    table = plain_table("confusion: rows are labels, columns are answers")
    table.add_column("")
    for number in range(len(samples.classes)):
        table.add_column(str(number), justify="right")
    for number, row in enumerate(scores.confusion):
        cells = [
            Text(str(v), "bold") if i == number else Text(str(v)) if v else Text("·", "dim") for i, v in enumerate(row)
        ]
        table.add_row(f"{number} {samples.classes[number]}", *cells)
    return table
