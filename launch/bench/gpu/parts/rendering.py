"""The same views of the same images by every executor that can run here. N images, H x W pixels, C channels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from configs.errors import UsageError
from data_pipes import pixels, plan
from data_pipes.executors import build
from data_pipes.plan import Plan
from data_pipes.sources.samples import Samples
from data_pipes.spec import DataSpec
from launch.bench.work import LeftOut

Levels = npt.NDArray[np.uint8]
CPU = torch.device("cpu")


def executors(spec: DataSpec, *, hardware: bool) -> dict[str, DataSpec]:
    """The spec with each executor. hardware: with the hardware decoder's share as it is by default, too."""
    strict = replace(spec.dali, hw_decoder_load=0.0)
    found = {
        "host": replace(spec, executor="host"),
        "resident": replace(spec, executor="resident"),
        "dali from files": replace(spec, executor="dali", dali=replace(strict, feed="files")),
        "dali from the canvas": replace(spec, executor="dali", dali=replace(strict, feed="canvas")),
    }
    if hardware:
        share = f"{spec.dali.hw_decoder_load:g}"
        loaded = replace(spec, executor="dali", dali=replace(spec.dali, feed="files"))
        found[f"dali from files, hw_decoder_load {share}"] = loaded
    return found


@dataclass(frozen=True, slots=True)
class Renderer:
    """Images of a split by one executor on one device."""

    spec: DataSpec
    samples: Samples
    device: torch.device

    def levels(self, view: Plan, batch: int) -> Levels:
        """All images in a view, `batch` at a time: N x H x W x C. LeftOut: the executor cannot be had here."""
        try:
            chosen = build.choose(self.spec, self.samples, self.device)
        except UsageError as error:
            raise LeftOut(str(error)) from error
        worker = build.build(chosen, self.spec, self.samples, self.device)
        try:
            return np.concatenate([self._one(worker, rows, view) for rows in _batches(len(self.samples), batch)])
        finally:
            worker.close()

    def _one(self, worker: build.Executor, rows: npt.NDArray[np.int64], view: Plan) -> Levels:
        image_BCHW = worker.submit(rows, view.take(rows)).result()
        level_BHWC: Levels = pixels.levels(image_BCHW.cpu(), self.spec).numpy()
        return level_BHWC


def reference(spec: DataSpec, samples: Samples, view: Plan) -> Levels:
    """The images by the executor host on the CPU, which everything is compared with."""
    return Renderer(replace(spec, executor="host"), samples, CPU).levels(view, len(samples))


def views(spec: DataSpec, samples: Samples) -> dict[str, tuple[DataSpec, Plan]]:
    """Views to compare in, each with the spec whose augmentation it is: the spec's own, crop and flips, evaluation."""
    plain = replace(spec.augment, rotation=0.0, affine=0.0, erase=0.5)
    flipped = replace(spec, augment=plain)
    size_N2, size_HW = samples.size_N2, spec.image_size
    return {
        "recipe": (spec, plan.training(0, 0, spec.augment, size_N2, size_HW)),
        "crop, flips, erase": (flipped, plan.training(0, 0, plain, size_N2, size_HW)),
        "evaluation": (spec, plan.evaluation(size_N2, spec.eval_crop, size_HW)),
    }


def gap(a: Levels, b: Levels) -> dict[str, Any]:
    """Mean and largest difference in levels, and the peak signal-to-noise ratio in dB (null: no difference)."""
    difference = np.abs(a.astype(np.int16) - b)
    square = float((difference.astype(np.float64) ** 2).mean())
    decibels = 10 * float(np.log10(255**2 / square)) if square else None
    return {"mean": float(difference.mean()), "largest": int(difference.max()), "decibels": decibels}


def _batches(count: int, batch: int) -> Iterator[npt.NDArray[np.int64]]:
    for start in range(0, count, batch):
        yield np.arange(start, min(start + batch, count), dtype=np.int64)
