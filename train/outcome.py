"""The end of a run: the artefact of the best epoch, the test split read once, the result."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

from accelerate import Accelerator

from configs import reader
from configs.files import write_atomically
from data_pipes import source
from models import artefact, counting, state_dicts
from models.artefact import Card, Score
from models.spec import ModelSpec
from train import extension, pictures, status
from train.assembly import assemble
from train.config import DistillConfig, TrainConfig
from train.evaluation import evaluate
from train.loop import Loop
from train.metrics import Scores, wilson
from train.run_dir import RunDir, commit, write_json
from train.world import dtype_of, evaluation_loader, start

logger = logging.getLogger(__name__)


def run(config: TrainConfig, stage: str) -> None:
    """The whole of a training command: open the folder, train or resume, write what came out."""
    accelerator = start(config.precision, config.max_minutes)
    result = carry_out(config, stage, accelerator)
    logger.info("%s", summary(result))
    logger.info("%s holds the weights, the result and the metrics", config.run_dir)
    accelerator.end_training()


def carry_out(config: TrainConfig, stage: str, accelerator: Accelerator) -> dict[str, Any]:
    """Train, resume or extend one run, unless it is finished; its result."""
    folder = RunDir.at(config.run_dir)
    before = extension.begin if config.extend else None
    with status.occupied(accelerator, folder, reader.dump(config), before=before):
        if not folder.done.exists():
            loop = assemble(config, accelerator, folder, stage)
            with loop.tracker or nullcontext():
                loop.fit()
                finish(loop, stage)
    return dict(json.loads(folder.result.read_text(encoding="utf-8")))


def summary(result: Mapping[str, Any]) -> str:
    """One line for a person."""
    low, high = result["accuracy_interval_95"]
    return (
        f"{result['accuracy_split']} accuracy {result['accuracy']:.2%} (95 % interval {low:.2%} to {high:.2%}, "
        f"{result['accuracy_samples']:,} images), {result['parameters']:,} parameters, {result['macs']:,} MACs"
    )


def finish(loop: Loop, stage: str) -> None:
    """Write model.safetensors, result.json and the marker; then pictures, for which no run is lost."""
    config, accelerator = loop.config, loop.accelerator
    net = loop.state.evaluated
    state_dicts.load(net, loop.state.best)
    scores = {"validation": loop.validate()}
    if config.test and "test" in source.splits(config.data):
        samples = source.load(config.data, "test")
        loader = evaluation_loader(accelerator, samples, config.data, dtype_of(config.precision))
        scores["test"] = evaluate(accelerator, net, loader.epoch(0), len(samples.classes))
        loader.close()
    loop.close()
    if accelerator.is_main_process:
        card = _card(loop, scores, stage)
        result = _result(loop, scores, card)
        artefact.save(loop.folder.weights, net.float(), card)
        write_json(loop.folder.result, result)
        write_atomically(loop.folder.done, "")
        assert loop.tracker is not None
        shown = pictures.write(loop, scores.get("test", scores["validation"]))
        if loop.tracker.run is not None:
            loop.tracker.run.show(loop.state.progress.total_steps, shown)
        loop.tracker.close(result)
    accelerator.wait_for_everyone()


def _card(loop: Loop, scores: Mapping[str, Scores], stage: str) -> Card:
    config, samples = loop.config, loop.train_loader.dataset
    data = config.data
    input_CHW = (data.channels, *data.image_size)
    lineage = {"stage": stage, "commit": commit() or "unknown", "data": samples.fingerprint}
    if loop.step.teacher is not None and isinstance(config, DistillConfig) and config.teacher is not None:
        lineage |= {"teacher": config.teacher, "teacher_sha256": artefact.sha256(config.teacher)}
    if loop.extensions:
        lineage["extended"] = "; ".join(one.summary for one in loop.extensions)
    model, pruned = _architecture(config.network)
    return Card(
        model=model,
        pruned=pruned,
        classes=samples.classes,
        input_CHW=input_CHW,
        mean=data.mean,
        std=data.std,
        eval_crop=data.eval_crop,
        scores={split: Score(correct=s.correct, total=s.count) for split, s in scores.items()},
        cost=counting.measure(loop.state.evaluated.float(), input_CHW),
        lineage=lineage,
    )


def _architecture(spec: ModelSpec) -> tuple[ModelSpec, bool]:
    """What rebuilds the network, and whether channels of it were cut: a saved file stands for its own architecture."""
    if spec.name.endswith(".safetensors"):
        card = artefact.read_card(spec.name)
        return card.model, card.pruned
    return ModelSpec(name=spec.name, widths=spec.widths, depth=spec.depth, dropout=spec.dropout), False


def _result(loop: Loop, scores: Mapping[str, Scores], card: Card) -> dict[str, Any]:
    progress = loop.state.progress
    split = "test" if "test" in scores else "validation"
    chosen = scores[split]
    return {
        "accuracy": chosen.accuracy,
        "accuracy_split": split,
        "accuracy_interval_95": wilson(chosen.correct, chosen.count),
        "accuracy_samples": chosen.count,
        "validation_accuracy": scores["validation"].accuracy,
        "best_epoch": progress.best_epoch + 1,
        "epochs": progress.epoch,
        "extensions": [asdict(one) for one in loop.extensions],
        "model": card.model.name,
        "parameters": card.cost.parameters,
        "nonzero": card.cost.nonzero,
        "macs": card.cost.macs,
        "bytes": card.cost.bytes,
        "teacher": card.lineage.get("teacher"),
        "seconds": round(progress.seconds, 2),
        "images_per_second": round(progress.images / max(progress.train_seconds, 1e-9), 1),
        "processes": loop.layout.world_size,
        "device": str(loop.accelerator.device),
        "seed": loop.config.seed,
    }
