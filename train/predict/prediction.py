"""Predictions of train.predict. B images of a micro-batch, N in all, K classes."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from configs.errors import InputError
from configs.figures import percent
from configs.tables import PlainConsole, plain_table
from data_pipes.loader import PlanLoader
from data_pipes.sources import source
from data_pipes.sources.samples import Samples
from data_pipes.spec import DataSpec
from models.artefact import Card
from models.networks.mirrored import Mirrored
from train import saved
from train.loaders import FEW_IMAGES, choose_executor, evaluation_loader
from train.predict.config import PredictConfig
from train.predict.submission import deliver, identifiers, require_writable, text_of, warn_of_odd
from train.processes import builders_first, by_main, start
from train.run_folder import own_code
from train.run_folder.run_dir import RunDir

logger = logging.getLogger(__name__)


def predict(config: PredictConfig) -> None:
    """Write the CSV of a folder or a split, or print the five best classes of one image."""
    accelerator = start("float32")
    own_code.register_run(config.run_dir, config.network)
    net, card, data = saved.load(config.run_dir, config.weights, config.data)
    output = output_of(config)
    if output is not None:
        by_main(accelerator, lambda: require_writable(output))
    samples = builders_first(accelerator, lambda: _samples(config, data))
    single = config.images is not None and Path(config.images).is_file()
    chosen = FEW_IMAGES if single and data.executor == "auto" else choose_executor(accelerator, data, samples)
    loader = evaluation_loader(accelerator, samples, data, chosen, batch_size=config.batch_size)
    net = Mirrored(net) if config.tta == "hflip" else net
    probability_NK = probabilities(accelerator, net.to(accelerator.device), loader)
    loader.close()
    if accelerator.is_main_process:
        if single:
            _show(card, probability_NK[0])
        if output is not None:
            _write(config, output, samples, card, probability_NK.argmax(dim=1).tolist())
    accelerator.end_training()


def output_of(config: PredictConfig) -> Path | None:
    """The CSV file to write; None: one image is shown, and no file was asked for."""
    if config.output is not None:
        return Path(config.output)
    if config.images is not None and Path(config.images).is_file():
        return None
    return (Path() if config.run_dir is None else RunDir.at(config.run_dir).path) / "predictions.csv"


def _samples(config: PredictConfig, data: DataSpec) -> Samples:
    if config.images is None:
        return _split(config, data)
    samples = source.unlabelled(data.bad_files, config.images, threads=data.threads, follow_links=data.follow_links)
    inner = sum("/" in key for key in samples.key_N)
    deeper = f", {inner:,} of them in sub-folders" if inner else ""
    logger.info("images: %s below %s%s", f"{len(samples):,}", config.images, deeper)
    return samples


def _split(config: PredictConfig, data: DataSpec) -> Samples:
    if config.split != "auto":
        return source.load(data, config.split)
    if data.root is None and not data.facts.bundled:
        raise InputError("nothing to predict: give --images FOLDER_OR_FILE, or --data.root with a data set")
    available = source.splits(data)
    if "evaluation" not in available:
        raise InputError(
            f"data.source {data.source} has no unlabelled split; give --images FOLDER_OR_FILE, or --split with one of "
            f"{', '.join(available)}"
        )
    return source.load(data, "evaluation")


@torch.no_grad()
def probabilities(accelerator: Accelerator, net: nn.Module, loader: PlanLoader) -> Tensor:
    """Return probability_NK on the CPU, in the order of the samples, from all processes.

    InputError: a probability is NaN.
    """
    parts = []
    for batch in loader.epoch(0):
        probability_BK = net(batch.image_BCHW).softmax(dim=1)
        parts.append(accelerator.gather_for_metrics(probability_BK).cpu())
    probability_NK = torch.cat(parts)
    if bool(probability_NK.isnan().any()):
        raise InputError("the network's outputs are NaN or infinite: its weights overflow on these images")
    return probability_NK


def _write(config: PredictConfig, output: Path, samples: Samples, card: Card, answer_N: list[int]) -> None:
    name_N = identifiers(samples, config.ids)
    warn_of_odd(name_N)
    answers = [card.classes[answer] for answer in answer_N] if config.category == "name" else answer_N
    deliver(output, text_of(config.columns, name_N, answers))
    logger.info("%s: %d rows", output, len(name_N))


def _show(card: Card, probability_K: Tensor) -> None:
    table = plain_table()
    table.add_column("class")
    table.add_column("probability", justify="right")
    best = probability_K.topk(min(5, len(card.classes)))
    for value, number in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        table.add_row(card.classes[number], percent(value, 1))
    PlainConsole().print(table)
