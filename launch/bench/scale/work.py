"""The pieces of work that are measured, each of which runs in a process of its own. N samples, K classes."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data_pipes import plan
from data_pipes.logits.cache import ROWS_PER_BLOCK, LogitCache
from data_pipes.logits.codec import Codec
from data_pipes.mixing import Rows
from data_pipes.sources import index_files
from data_pipes.sources.images import ArrayImages
from data_pipes.sources.samples import Samples
from data_pipes.sources.source import Source
from data_pipes.spec import AugmentSpec, DataSpec
from launch.bench.scale.processes import Figures

if TYPE_CHECKING:
    import torch

    from data_pipes.executors.build import Pending

VIEW = (224, 224)
RECIPES = {
    "crop and flip": AugmentSpec(crop_scale=(0.08, 1.0), horizontal_flip=0.5),
    "crop, flip, rotation, erase, mixup and cutmix": AugmentSpec(
        crop_scale=(0.08, 1.0), horizontal_flip=0.5, rotation=15, erase=0.25, mixup=0.2, cutmix=1.0
    ),
}
RANK_STEPS = 50
MICRO_BATCH = 64


def spec_of(root: Path) -> DataSpec:
    """A config of a data set of class folders."""
    return DataSpec(source="folder", root=str(root), image_size=VIEW, mean=(0.5,) * 3, std=(0.5,) * 3)


@contextmanager
def timed(figures: dict[str, float], name: str) -> Iterator[None]:
    """Add the seconds of a with-block to figures."""
    begun = time.monotonic()
    yield
    figures[name] = time.monotonic() - begun


def nothing() -> Figures:
    """What a process holds that has only imported what the others have."""
    return {}


def begin(root: Path) -> Figures:
    """What the main process does before a run: walk, look at each file, read or make the index, cut validation."""
    figures: dict[str, float] = {}
    source = Source(spec_of(root))
    with timed(figures, "walk"):
        source.require_classes_to_tell_apart()
    with timed(figures, "look at files"):
        source.publish("train")
    with timed(figures, "index"):
        train, validation = source.load("train"), source.load("validation")
    with timed(figures, "fingerprint"):
        _ = train.fingerprint, validation.fingerprint
    figures["images"] = len(train) + len(validation)
    return figures


def hand_over(root: Path, file: Path) -> Figures:
    """What the main process sends to all others, here through a file."""
    source = Source(spec_of(root))
    splits = source.load("train"), source.load("validation")
    figures: dict[str, float] = {}
    with timed(figures, "pack"):
        data = pickle.dumps(splits)
    file.write_bytes(data)
    return {**figures, "bytes": len(data)}


def take_over(file: Path) -> Figures:
    """What every other process does with it."""
    figures: dict[str, float] = {}
    with timed(figures, "unpack"):
        splits: tuple[Samples, Samples] = pickle.loads(file.read_bytes())
    return {**figures, "images": sum(map(len, splits))}


def index_bytes(cache: Path) -> int:
    """Bytes of the index in the cache."""
    return sum(file.stat().st_size for file in cache.glob("index-*.npz"))


def blocks_done(cache: Path) -> int:
    """Files of the blocks that are finished of a pass in work."""
    return sum(len(index_files.read(file) or ()) for file in cache.glob("index-*.parts/*.npz"))


def epochs(count: int, recipe: str, rounds: int) -> Figures:
    """Plan and order of an epoch: median seconds."""
    size_N2 = np.random.default_rng(0).integers(200, 600, (count, 2)).astype(np.int32)
    planned, ordered = [], []
    for view in range(rounds):
        figures: dict[str, float] = {}
        with timed(figures, "plan"):
            plan_N = plan.training(0, view, RECIPES[recipe], size_N2, VIEW)
        with timed(figures, "order"):
            plan.order(0, view, plan_N.partner_N)
        planned.append(figures["plan"])
        ordered.append(figures["order"])
    return {"plan": float(np.median(planned)), "plan, most": max(planned), "order": float(np.median(ordered))}


def rank(count: int, classes: int, world: int, rounds: int) -> Figures:
    """The share of one of `world` processes in an epoch, without images: time to the first batch, and for each."""
    import torch  # the other pieces of work have no use for its memory

    from data_pipes.loader import Layout, PlanLoader

    spec = replace(spec_of(Path()), image_size=(2, 2), augment=RECIPES["crop and flip"])
    layout = Layout(batch_size=MICRO_BATCH * world, micro_batch_size=MICRO_BATCH, world_size=world, rank=world - 1)
    loader = PlanLoader(_samples(count, classes), spec, layout, _Blank(), seed=0, device=torch.device("cpu"))
    firsts, steps = [], []
    for epoch in range(rounds):
        figures: dict[str, float] = {}
        batches = loader.epoch(epoch)
        with timed(figures, "first"):
            next(batches)
        begun = time.monotonic()
        taken = sum(1 for _ in islice(batches, RANK_STEPS))
        steps.append((time.monotonic() - begun) / max(taken, 1))
        firsts.append(figures["first"])
    return {"first batch": float(np.median(firsts)), "batch": float(np.median(steps))}


class _Blank:
    """An executor that renders nothing."""

    def begin(self, row_E: Rows, plan_N: plan.Plan) -> Callable[[slice], Pending]:
        """See `Executor.begin`."""
        return lambda part: self.submit(row_E[part], plan_N.take(row_E[part]))

    def submit(self, row_B: Rows, plan_B: plan.Plan) -> Pending:
        """See `Executor.submit`."""
        return _BlankBatch(len(row_B))

    def close(self) -> None:
        """See `Executor.close`."""


@dataclass(frozen=True, slots=True)
class _BlankBatch:
    count: int

    def result(self) -> torch.Tensor:
        """See `Pending.result`."""
        import torch

        return torch.zeros(self.count, 3, 2, 2)


def _samples(count: int, classes: int) -> Samples:
    return Samples(
        split="train",
        classes=tuple(map(str, range(classes))),
        key_N=tuple(map(str, range(count))),
        label_N=np.arange(count) % classes,
        size_N2=np.tile(np.array([2, 2], np.int32), (count, 1)),
        row_N=np.zeros(count, np.int64),
        images=ArrayImages(np.zeros((1, 2, 2, 3), np.uint8)),
    )


def logits(folder: Path, count: int, classes: int) -> Figures:
    """A view of teacher logits: written block by block, and read as training reads it. They are random numbers."""
    noise, figures = np.random.default_rng(0), dict[str, float]()
    cache = LogitCache.create(folder, {}, samples=count, classes=classes, codec=Codec.choose(classes))
    some_RK = noise.normal(0, 3, (min(count, ROWS_PER_BLOCK), classes)).astype(np.float32)
    with timed(figures, "write"):
        for block, rows in enumerate(cache.blocks):
            cache.write(0, block, some_RK[: rows.stop - rows.start])
        cache.finish(0)
    with timed(figures, "read"):
        cache.read(0)
    return {**figures, "bytes": cache.nbytes_per_view}
