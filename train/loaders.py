"""The splits of a data set and their loaders, shared out over the processes of a run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from accelerate import Accelerator

from configs.resources import working_alone
from data_pipes.drawn import Views
from data_pipes.executors import build
from data_pipes.executors.choice import Choice
from data_pipes.loader import Layout, PlanLoader
from data_pipes.sources import index
from data_pipes.sources.image_files import some
from data_pipes.sources.samples import Samples
from data_pipes.sources.source import Source, Split
from data_pipes.spec import DataSpec
from train import guards
from train.config import TrainConfig
from train.processes import builders_first, by_main, dtype_of, image_dtype_of
from train.progress import say_once

logger = logging.getLogger(__name__)
T = TypeVar("T")
EVAL_BATCH = 256
NAMED = 5  # classes in the line about the data
FEW_IMAGES = Choice(name="host", feed="files", reason="a few images are not worth a canvas")
"""The executor for a handful of images of a split."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """The splits of a run and the loaders of its training."""

    train: Samples
    validation: Samples
    test: Samples | None
    """None: the data set has none, or the config leaves it alone."""
    cut: bool
    """Whether validation is cut from the files of train."""
    chosen: Choice
    """The executor of all loaders."""
    train_loader: PlanLoader
    validation_loader: PlanLoader


def load_splits(accelerator: Accelerator, found: Source) -> tuple[Samples, Samples]:
    """Load the training and the validation split. Collective. InputError: there is one class alone."""

    def load() -> tuple[Samples, Samples]:
        found.require_classes_to_tell_apart()
        return found.load("train"), found.load("validation")

    _index_together(accelerator, found, ("train", "validation"))
    return _shared(accelerator, found, load)


def _index_together(accelerator: Accelerator, found: Source, splits: Sequence[Split]) -> None:
    """Share the examination of many files among all processes that see the main process's cache. Collective."""
    if accelerator.num_processes > 1 and found.spec.facts.files:
        for split in splits:
            folder = by_main(accelerator, partial(found.publish, split))
            if folder is not None:
                index.assist(folder, found.spec.thread_count)


def _shared(accelerator: Accelerator, found: Source, load: Callable[[], T]) -> T:
    """Load on the main process for all: the others look at no folder and no file. Collective.

    Arrays are loaded by each process, as `builders_first` says: they are larger than names and checksums of files.
    """

    def alone() -> T:
        with working_alone():
            return load()

    return by_main(accelerator, alone) if found.spec.facts.files else builders_first(accelerator, load)


def say(*splits: Samples | None) -> None:
    """Log the classes and the size of each split that is there."""
    present = [samples for samples in splits if samples is not None]
    classes = present[0].classes
    sizes = ", ".join(f"{len(samples):,} {samples.split}" for samples in present)
    text = f"data: {len(classes)} classes ({some(classes, NAMED)}), {sizes} images"
    say_once(logger, text, key=f"{classes} {[len(samples) for samples in present if samples.split != 'test']}")


def load_test(accelerator: Accelerator, found: Source) -> Samples | None:
    """Load the test split and check its files; None if the data set has none. Collective."""
    _index_together(accelerator, found, ("test",))
    return _shared(accelerator, found, lambda: found.load("test") if "test" in found.splits else None)


def choose_executor(accelerator: Accelerator, spec: DataSpec, samples: Samples) -> Choice:
    """Choose an executor on the main process, for all: free memory differs from process to process. Collective.

    UsageError: data.executor names one that cannot be had here.
    """
    return by_main(accelerator, lambda: build.choose(spec, samples, accelerator.device))


def training_layout(accelerator: Accelerator, batch_size: int, micro_batch_size: int | None) -> Layout:
    """Divide the global batch among the processes; without a micro-batch size, one micro-batch each."""
    world = accelerator.num_processes
    micro = micro_batch_size or max(batch_size // world, 1)
    return Layout(batch_size=batch_size, micro_batch_size=micro, world_size=world, rank=accelerator.process_index)


def training_loader(
    config: TrainConfig, accelerator: Accelerator, samples: Samples, layout: Layout, chosen: Choice
) -> PlanLoader:
    """Load random views of the training split with the chosen executor."""
    device, image_dtype = accelerator.device, image_dtype_of(config.precision)
    return PlanLoader(
        samples,
        config.data,
        layout,
        build.build(chosen, config.data, samples, device, image_dtype),
        seed=config.seed,
        device=device,
        dtype=dtype_of(config.precision),
        views=Views(seed=config.plan_seed, count=config.views, first=config.first_epoch, share=config.epoch_share),
    )


def evaluation_loader(
    accelerator: Accelerator,
    samples: Samples,
    spec: DataSpec,
    chosen: Choice,
    dtype: torch.dtype = torch.float32,
    *,
    batch_size: int = EVAL_BATCH,
    alone: bool = False,
) -> PlanLoader:
    """Load fixed views of a split with the chosen executor, `batch_size` samples at a time on each process.

    alone: this process takes all of them; by default they are shared out over all processes.
    """
    world, rank = (1, 0) if alone else (accelerator.num_processes, accelerator.process_index)
    micro = max(min(batch_size, -(-len(samples) // world)), 1)
    layout = Layout(batch_size=micro * world, micro_batch_size=micro, world_size=world, rank=rank)
    executor = build.build(chosen, spec, samples, accelerator.device, dtype)
    return PlanLoader(samples, spec, layout, executor, seed=None, device=accelerator.device, dtype=dtype)


def training_data(config: TrainConfig, accelerator: Accelerator, layout: Layout) -> Data:
    """Load the splits of a run, choose the executor, and build the loaders.

    InputError: evaluation views are not the same in two passes.
    """
    found = Source(config.data)
    train, validation = load_splits(accelerator, found)
    test = load_test(accelerator, found) if config.test else None
    say(train, validation, test)
    chosen = choose_executor(accelerator, config.data, train)
    train_loader = training_loader(config, accelerator, train, layout, chosen)
    validation_loader = evaluation_loader(accelerator, validation, config.data, chosen, dtype_of(config.precision))
    guards.require_repeatable(validation_loader.epoch(0), validation_loader.epoch(0))
    return Data(
        train=train,
        validation=validation,
        test=test,
        cut=by_main(accelerator, lambda: found.is_cut),
        chosen=chosen,
        train_loader=train_loader,
        validation_loader=validation_loader,
    )
