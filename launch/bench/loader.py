"""Images per second of everything that can load a batch here. B samples of a batch, N of the images that are read.

Every variant delivers the same images as normalised float32 batches on the device, `data.prefetch` of them in flight,
and has started its threads and processes before it is timed. The files are in the page cache: disks are not measured.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from configs.errors import UsageError
from data_pipes import plan
from data_pipes.sources import source
from data_pipes.sources.samples import Samples
from data_pipes.spec import DataSpec
from launch.bench.baselines import pil, tensors
from launch.bench.config import VARIANTS, LoaderConfig
from launch.bench.executors import Decode, crop_flip_erase, dali_canvas, dali_decode, dali_plan, dali_random, planned
from launch.bench.report import Report, surroundings
from launch.bench.rounds import Goal, Variant, measure, ratios
from launch.bench.work import LeftOut, Work

PIL = ("pil-0", "pil-2", "pil-4")
GOALS = (
    Goal("host/best pil", "host", PIL, 3.0),
    Goal("host/decode", "host", ("decode",), 0.7),
    Goal("resident/best pil", "resident", PIL, 7.0),
    Goal("resident-crop-flip-erase/best pil", "resident-crop-flip-erase", PIL, 10.0),
    Goal("dali-plan/dali-random", "dali-plan", ("dali-random",), 0.97),
    Goal("dali-plan/dali-decode", "dali-plan", ("dali-decode",), 0.9),
)
WORKERS = 4  # the most of any variant: images come in as many batches, so that workers have equal shares
NOTES = {
    "pil-0": "torchvision on Pillow images, in this process",
    "pil-2": "the same in a DataLoader with 2 workers",
    "pil-4": "the same in a DataLoader with 4 workers",
    "tv2": "torchvision.transforms.v2 on tensors, 2 workers",
    "decode": "our decoder: whole images to RGB, nothing else",
    "dali-decode": "DALI's decoder on the GPU, nothing else",
    "dali-random": "DALI with its own random operators",
    "dali-plan": "executor dali from files, fed by the plan",
    "dali-canvas": "executor dali from images decoded once",
    "host": "executor host",
    "resident": "executor resident: images decoded once",
    "resident-crop-flip-erase": "resident with crop, flips and erasing alone",
}


def run(config: LoaderConfig, show: Callable[[str], None]) -> Report:
    """Measure the configured variants that can run on this machine and data set."""
    environment = surroundings()
    show("reading the index of the images")
    split = source.load(config.data, "train")
    work = make_work(config, split)
    plan_us = plan_microseconds(config, split)
    variants, left_out = prepare(work, config.variants or VARIANTS, show)
    try:
        laps = measure(
            variants,
            config.rounds,
            images=len(work.samples),
            seconds=config.seconds,
            show=lambda name, number: show(
                f"{name}, " + (f"round {number} of {config.rounds}" if number else "warm-up")
            ),
        )
    finally:
        for variant in variants.values():
            variant.close()
    height, width = work.spec.image_size
    return Report(
        work=f"{describe(split, work.spec)}, to batches of {work.batch_size} x {height} x {width} with "
        f"{work.spec.thread_count} threads\n{config.rounds} rounds of at least {len(work.samples)} images per variant",
        laps=laps,
        notes=NOTES,
        ratios=ratios(GOALS, laps),
        left_out=left_out,
        figures={"plan_us_per_sample": plan_us},
        footer=[
            f"plan: {plan_us:.2f} µs per sample, for all {len(split):,} at once; it is part of every executor's time"
        ],
        environment=environment | numbers(config, work, split),
    )


def make_work(config: LoaderConfig, split: Samples) -> Work:
    """Work on images in a random order, the same for every variant, repeated if the split is small."""
    unit = WORKERS * config.batch_size
    count = -(-config.images // unit) * unit
    order_N = plan.order(config.seed, 0, np.arange(len(split), dtype=np.int64))
    return Work(
        spec=replace(config.data, augment=replace(config.data.augment, mixup=0.0, cutmix=0.0)),
        samples=split.select(np.resize(order_N, count)),
        batch_size=config.batch_size,
        device=torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu"),
        seed=config.seed,
    )


def prepare(work: Work, names: Iterable[str], show: Callable[[str], None]) -> tuple[dict[str, Variant], dict[str, str]]:
    """Return the started variants, and why others cannot run here. UsageError: none can."""
    variants: dict[str, Variant] = {}
    left_out: dict[str, str] = {}
    # In the order of BUILDERS: worker processes start before the threads of the others.
    for name in [name for name in BUILDERS if name in names]:
        show(f"{name}: starting")
        try:
            variants[name] = BUILDERS[name](work)
        except LeftOut as reason:
            left_out[name] = str(reason)
    if not variants:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise UsageError(f"variants: none of them can run here. {reasons}")
    return variants, left_out


BUILDERS: dict[str, Callable[[Work], Variant]] = {
    "pil-0": partial(pil, workers=0),
    "pil-2": partial(pil, workers=2),
    "pil-4": partial(pil, workers=4),
    "tv2": partial(tensors, workers=2),
    "decode": Decode,
    "dali-decode": dali_decode,
    "dali-random": dali_random,
    "dali-plan": dali_plan,
    "dali-canvas": dali_canvas,
    "host": partial(planned, executor="host"),
    "resident": partial(planned, executor="resident"),
    "resident-crop-flip-erase": lambda work: planned(
        work, executor="resident", augment=crop_flip_erase(work.spec.augment)
    ),
}


def plan_microseconds(config: LoaderConfig, split: Samples) -> float:
    """Median microseconds per sample to plan and order a view of the whole split, mixing included."""
    spec, seconds = config.data, []
    for view in range(config.rounds + 1):
        start = time.perf_counter()
        plan_N = plan.training(config.seed, view, spec.augment, split.size_N2, spec.image_size)
        plan.order(config.seed, view, plan_N.partner_N)
        seconds.append(time.perf_counter() - start)
    return 1e6 * statistics.median(seconds[1:]) / len(split)


def describe(split: Samples, spec: DataSpec) -> str:
    """The split in words."""
    height, width = np.median(split.size_N2, axis=0).astype(int)
    return f"{spec.source}: {len(split):,} training images, by the median {height} x {width} pixels"


def numbers(config: LoaderConfig, work: Work, split: Samples) -> dict[str, Any]:
    """What was measured, for a program."""
    return {
        "device": str(work.device),
        "source": work.spec.source,
        "split_images": len(split),
        "images": len(work.samples),
        "rounds": config.rounds,
        "batch_size": work.batch_size,
        "image_size": list(work.spec.image_size),
        "threads": work.spec.thread_count,
        "prefetch": work.spec.prefetch,
    }
