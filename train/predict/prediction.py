"""Predictions of train.predict. B images of a micro-batch, N in all, K classes."""

from __future__ import annotations

import csv
import logging
from pathlib import Path

import torch
from accelerate import Accelerator
from rich.console import Console
from rich.markup import escape
from torch import Tensor, nn

from configs.errors import InputError
from configs.tables import plain_table
from data_pipes.loader import PlanLoader
from data_pipes.sources import source
from data_pipes.sources.image_files import EXTENSIONS
from data_pipes.sources.samples import Samples
from data_pipes.spec import DataSpec
from models.artefact import Card
from train import saved
from train.loaders import choose_executor, evaluation_loader
from train.predict.config import PredictConfig
from train.processes import start
from train.run_folder.run_dir import RunDir

logger = logging.getLogger(__name__)


def predict(config: PredictConfig) -> None:
    """Write the CSV of a folder, or print the five best classes of one image."""
    accelerator = start("float32")
    net, card, data = saved.load(config.run_dir, config.weights, config.data)
    with accelerator.main_process_first():
        samples = _samples(config, data)
    chosen = choose_executor(accelerator, data, samples)
    loader = evaluation_loader(accelerator, samples, data, chosen, batch_size=config.batch_size)
    probability_NK = probabilities(accelerator, net.to(accelerator.device), loader)
    loader.close()
    if accelerator.is_main_process:
        if config.images is not None and Path(config.images).is_file():
            _show(card, probability_NK[0])
        else:
            output = Path(config.output) if config.output else RunDir.at(config.run_dir).path / "predictions.csv"
            write_csv(output, identifiers(samples), probability_NK.argmax(dim=1), card, config.category)
            logger.info("%s: %d rows", output, len(samples))
    accelerator.end_training()


def _samples(config: PredictConfig, data: DataSpec) -> Samples:
    if config.images is not None:
        return source.unlabelled(data.bad_files, config.images, threads=data.threads, follow_links=data.follow_links)
    if "evaluation" not in source.splits(data):
        raise InputError(f"data.source {data.source} has no unlabelled split; give --images FOLDER_OR_FILE")
    return source.load(data, "evaluation")


@torch.no_grad()
def probabilities(accelerator: Accelerator, net: nn.Module, loader: PlanLoader) -> Tensor:
    """Return probability_NK on the CPU, in the order of the samples, from all processes."""
    parts = []
    for batch in loader.epoch(0):
        probability_BK = net(batch.image_BCHW).softmax(dim=1)
        parts.append(accelerator.gather_for_metrics(probability_BK).cpu())
    return torch.cat(parts)


def identifiers(samples: Samples) -> list[str]:
    """Return file names without folder and image ending; whole paths where names are not unique."""
    names = [Path(key) for key in samples.key_N]
    stems = [name.stem if name.suffix.lower() in EXTENSIONS else name.name for name in names]
    return stems if len(set(stems)) == len(stems) else list(samples.key_N)


def write_csv(path: Path, name_N: list[str], answer_N: Tensor, card: Card, category: str) -> None:
    """Write the columns Id,Category in UTF-8; bytes of a file's name that are not UTF-8 become escapes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        rows = csv.writer(file)
        rows.writerow(["Id", "Category"])
        for name, answer in zip(name_N, answer_N.tolist(), strict=True):
            rows.writerow([name, card.classes[answer] if category == "name" else answer])


def _show(card: Card, probability_K: Tensor) -> None:
    table = plain_table()
    table.add_column("class")
    table.add_column("probability", justify="right")
    best = probability_K.topk(min(5, len(card.classes)))
    for value, number in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        table.add_row(escape(card.classes[number]), f"{value:.1%}")
    Console().print(table)
