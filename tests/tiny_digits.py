"""Runs of a second, compared bit by bit: digits of 8 x 8 pixels, every augmentation, networks of a thousand weights.

287 samples in steps of 64: the last is partial, and when all are mixed in pairs one is alone. Two views in four epochs.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from torch import nn

from configs import reader
from models import artefact, counting, zoo
from models.artefact import Card
from models.spec import ModelSpec
from train.cache import fill as caching
from train.cache.config import CacheConfig
from train.config import DistillConfig
from train.stage.run import run as run_stage

DIGITS = Path(__file__).parents[1] / "configs" / "digits"
CLASSES = tuple("0123456789")
SAMPLES, STEPS = 287, 5
AUGMENT = "{rotation: 15, horizontal_flip: 0.5, vertical_flip: 0.5, erase: 0.5, mixup: 0.4, cutmix: 1.0}"
SMALL_DATA = [
    *("--data.image_size", "[8, 8]", "--data.validation_fraction", "0.8", "--data.threads", "1"),
    *("--data.augment", AUGMENT),
]
TRAINING = [
    *("--config", str(DIGITS / "distill.yaml"), "--student.widths", "[2, 4, 8]"),
    *("--epochs", "4", "--views", "2", "--batch_size", "64", "--test", "false"),
    *(*SMALL_DATA, "--optim.warmup_epochs", "0", "--track.every", "1", "--track.pictures", "false"),
]
CACHED = ["--distill.teacher_logits", "cached"]
# For a process of its own: five blocks a view.
SMALL_BLOCKS = """
from data_pipes.logits.cache import LogitCache
LogitCache.create.__func__.__kwdefaults__["rows_per_block"] = 64
"""


def network(seed: int, classes: int = 10, widths: tuple[int, ...] = (4, 8, 8)) -> tuple[nn.Module, ModelSpec]:
    """One that has learnt nothing, and whose answers differ from image to image as if it had."""
    spec = ModelSpec(name="resnet_small", depth=8, widths=widths)
    torch.manual_seed(seed)
    net = zoo.build(spec, num_classes=classes, input_CHW=(1, 8, 8))
    with torch.no_grad():
        for _ in range(20):
            net(torch.randn(64, 1, 8, 8))  # BatchNorm's statistics
        net.fc.weight *= 10
    return net.eval(), spec


def save(path: Path, seed: int = 0, classes: tuple[str, ...] = CLASSES, scale: float = 1.0, **shape) -> Path:
    """A file of such a network; no accuracy is recorded in it, so that none is checked."""
    net, spec = network(seed, len(classes), **shape)
    with torch.no_grad():
        net.fc.weight *= scale
    own = {"mean": (0.5,), "std": (0.5,), "eval_crop": 1.0, "cost": counting.measure(net, (1, 8, 8))}
    artefact.save(path, net, Card(model=spec, classes=classes, input_CHW=(1, 8, 8), **own))
    return path


def words(home: Path, run: str | Path, *options: str) -> list[str]:
    """What follows `train.distill` or `train.cache`; the teacher, the cache and the run are in `home`."""
    places = ["--teacher", str(home / "teacher.safetensors"), "--run_dir", str(home / run)]
    return [*TRAINING, *places, "--distill.cache", str(home / "cache"), "--distill.store", "float32", *options]


def train(home: Path, run: str | Path, *options: str) -> Path:
    """Distil in this process; the folder of the run."""
    run_stage(reader.read(DistillConfig, words(home, run, *options), prog="x", description="x"), "distill")
    return home / run


def fill(home: Path, *options: str) -> Path:
    """train.cache in this process; the folder of the cache."""
    caching.run(reader.read(CacheConfig, words(home, "none", *options), prog="x", description="x"))
    return home / "cache"


def losses(run: Path) -> list[dict[str, float]]:
    """All that was measured, step after step."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "step/loss" in line]


def untimed(run: Path) -> list[dict[str, float]]:
    """All lines of metrics.jsonl, without what differs from run to run."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    timed = ("seconds/", "train/images_per_second")
    return [{name: value for name, value in line.items() if not name.startswith(timed)} for line in lines]


def sha(run: Path) -> str:
    """Of the weights."""
    return hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()


def tree(cache: Path) -> dict[str, bytes]:
    """The files of a cache."""
    files = (path for path in cache.rglob("*") if path.is_file() and path.name != "locks")
    return {str(path.relative_to(cache)): path.read_bytes() for path in files}
