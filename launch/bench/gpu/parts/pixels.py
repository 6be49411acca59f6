"""The pixels of every executor on the device, against the executor host on the CPU and against themselves."""

from __future__ import annotations

import numpy as np
import torch

from configs import reader
from data_pipes.sources import source
from launch.bench.config import LoaderConfig
from launch.bench.gpu.config import PartConfig
from launch.bench.gpu.parts import recipes
from launch.bench.gpu.parts.rendering import CPU, Levels, Renderer, executors, gap, reference, views
from launch.bench.gpu.result import Cell, Result, Table
from launch.bench.work import LeftOut

IMAGES, BATCHES = 32, (32, 5)
MOST = 3.0
"""Mean difference in levels at most: kept images are 0.9 to 1.5 away in what was measured on a CPU."""
COLUMNS = ("executor", "view", "mean levels", "largest", "dB", "same again", "mean levels from itself on the CPU")


def run(config: PartConfig, name: str) -> Result:
    """Render the same views by every executor."""
    photographs = recipes.photographs(config)
    spec = reader.read(LoaderConfig, photographs.loading, prog=name, description=name, other_sections=True).data
    split = source.load(spec, "train")
    samples = split.select(split.spread(IMAGES))
    device = torch.device(config.device)
    rows: list[list[Cell]] = []
    faults, left_out = [], {}
    for view, (seen, plan_N) in views(spec, samples).items():
        expected = reference(seen, samples, plan_N)
        for label, own in executors(seen, hardware=not config.small).items():
            try:
                passes = [Renderer(own, samples, device).levels(plan_N, batch) for batch in BATCHES]
                there = Renderer(own, samples, CPU).levels(plan_N, BATCHES[0]) if device != CPU else None
            except LeftOut as reason:
                left_out[label] = str(reason)
                continue
            rows.append([label, view, *row(passes, expected, there)])
            if gap(passes[0], expected)["mean"] > MOST:
                faults.append(f"{label}, {view}: more than {MOST:g} levels away")
            if not rows[-1][5] and "hw_decoder_load" not in label:
                faults.append(f"{label}, {view}: the pixels of an image depend on its batch")
    note = f"{len(samples)} of {photographs.words}, at {spec.image_size[0]} x {spec.image_size[1]}"
    table = Table.of("Against host on the CPU", COLUMNS, rows)
    return Result(tables=[table], notes=[note], faults=faults, left_out=left_out)


def row(passes: list[Levels], expected: Levels, there: Levels | None) -> list[Cell]:
    """The figures of one executor in one view; `there`: its own pixels on the CPU."""
    found = gap(passes[0], expected)
    same = all(np.array_equal(passes[0], other) for other in passes[1:])
    itself = None if there is None else gap(passes[0], there)["mean"]
    return [found["mean"], found["largest"], found["decibels"], same, itself]
