"""The end of a run: the weights of the best epoch, their scores, the result."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from torch import nn

from configs.files import write_atomically
from configs.intervals import wilson
from data_pipes.sources.samples import Samples
from models import artefact, counting, state_dicts
from models.artefact import Card, Score
from train.evaluate.evaluation import evaluate
from train.evaluate.metrics import Scores
from train.loaders import evaluation_loader
from train.loop import Loop
from train.processes import dtype_of
from train.run_folder import readings
from train.run_folder.readings import Reading
from train.run_folder.run_dir import write_json
from train.stage import pictures

logger = logging.getLogger(__name__)


def finish(loop: Loop) -> None:
    """Write model.safetensors, result.json and the marker, then any pictures, whose failure is only a warning."""
    config, accelerator = loop.config, loop.accelerator
    net = loop.state.evaluated
    state_dicts.load(net, loop.state.best)
    scores = {"validation": loop.validate()}
    if loop.test is not None:
        loader = evaluation_loader(accelerator, loop.test, config.data, loop.chosen, dtype_of(config.precision))
        if accelerator.is_main_process:
            _count(loop, net, loop.test)
        scores["test"] = evaluate(accelerator, net, loader.epoch(0), len(loop.test.classes))
        loader.close()
    loop.close()
    if accelerator.is_main_process:
        card = _scored(loop.card, net.float(), scores)
        artefact.save(loop.folder.weights, net, card)
        result = _result(loop, scores, card)
        write_json(loop.folder.result, result)
        write_atomically(loop.folder.done, "")
        assert loop.tracker is not None
        if config.track.pictures:
            split = result["accuracy_split"]
            loop.tracker.show(loop.state.progress.total_steps, pictures.write(loop, scores[split], split))
        loop.tracker.close(result)
    accelerator.wait_for_everyone()


def _count(loop: Loop, net: nn.Module, test: Samples) -> None:
    """Record that the test split is about to be read."""
    reading = Reading(
        command=f"train.{loop.card.lineage['stage']}",
        split=test.split,
        images=len(test),
        weights=state_dicts.digest(net),
        data=test.fingerprint,
    )
    readings.record(loop.folder.path, reading)


def _scored(card: Card, net: nn.Module, scores: Mapping[str, Scores]) -> Card:
    counts = {split: Score(correct=s.correct, total=s.count) for split, s in scores.items()}
    return replace(card, scores=counts, cost=counting.measure(net, card.input_CHW))


def _result(loop: Loop, scores: Mapping[str, Scores], card: Card) -> dict[str, Any]:
    progress = loop.state.progress
    split = "test" if "test" in scores else "validation"
    chosen = scores[split]
    return {
        "accuracy": chosen.accuracy,
        "accuracy_split": split,
        "accuracy_interval_95": wilson(chosen.correct, chosen.count),
        "accuracy_samples": chosen.count,
        "test_reads": readings.read(loop.folder.path).of_run.number,
        "validation_accuracy": scores["validation"].accuracy,
        "best_epoch": progress.best_epoch + 1,
        "epochs": progress.epoch,
        "passes": round(progress.epoch * loop.config.epoch_share, 6),
        "extensions": [asdict(one) for one in loop.extensions],
        "model": card.model.name,
        "parameters": card.cost.parameters,
        "nonzero": card.cost.nonzero,
        "macs": card.cost.macs,
        "bytes": card.cost.bytes,
        "sha256": artefact.sha256(loop.folder.weights),
        "teacher": card.lineage.get("teacher"),
        "seconds": round(progress.seconds, 2),
        "images_per_second": round(progress.images / max(progress.train_seconds, 1e-9), 1),
        "processes": loop.layout.world_size,
        "device": str(loop.accelerator.device),
        "seed": loop.config.seed,
    }
