"""One photograph per EXIF orientation, whole and cropped, by every executor. N images, H x W pixels.

DALI's mixed decoder both turns and crops; whether the crop is then of the upright image has never been seen on a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from data_pipes import plan
from data_pipes.plan import Plan
from data_pipes.sources import source
from data_pipes.sources.samples import Samples
from data_pipes.spec import DataSpec
from launch.bench.gpu.config import PartConfig
from launch.bench.gpu.parts import material
from launch.bench.gpu.parts.rendering import Renderer, executors, gap, reference
from launch.bench.gpu.result import Cell, Result, Table
from launch.bench.work import LeftOut

MOST = 6.0
"""Mean difference in levels of an upright image at most; decoders and kept images differ by up to 2."""
WRONG = "another part of the image, or turned otherwise"
COLUMNS = ("executor", "view", "orientations", "mean levels", "of the worst", "which", "wrong")


def run(config: PartConfig, name: str) -> Result:
    """Write the photographs, and compare every executor with the reference."""
    root = config.folder / name
    write(root, (96, 64) if config.small else (480, 352))
    side = 32 if config.small else 224
    spec = DataSpec(
        source="folder", root=str(root), image_size=(side, side), mean=(0.5,) * 3, std=(0.25,) * 3, threads=1
    )
    samples = source.load(spec, "train")
    return compare(executors(spec, hardware=not config.small), samples, torch.device(config.device))


def write(root: Path, size_HW: tuple[int, int]) -> None:
    """Eight photographs in two classes, `1.jpg` to `8.jpg` by their orientation; a split for validation, too."""
    for split in ("train", "val"):
        for orientation in range(1, 9):
            path = root / split / "ab"[orientation % 2] / f"{orientation}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            material.save_turned(material.picture(*size_HW, seed=orientation), path, orientation)


def compare(specs: Mapping[str, DataSpec], samples: Samples, device: torch.device) -> Result:
    """Every executor against the reference."""
    rows: list[list[Cell]] = []
    faults, left_out = [], {}
    for view, plan_N in crops(samples).items():
        expected = reference(next(iter(specs.values())), samples, plan_N)
        for label, spec in specs.items():
            try:
                ours = Renderer(spec, samples, device).levels(plan_N, len(samples))
            except LeftOut as reason:
                left_out[label] = str(reason)
                continue
            means = {
                turned: gap(*pair)["mean"] for turned, *pair in zip(orientations(samples), ours, expected, strict=True)
            }
            rows.append([label, view, *summary(means)])
            if wrong := rows[-1][-1]:
                faults.append(f"{label}, {view}: {WRONG}: orientation {wrong}")
    return Result(tables=[Table.of("Against host on the CPU", COLUMNS, rows)], faults=faults, left_out=left_out)


def summary(means: Mapping[int, float]) -> list[Cell]:
    """Number of images, mean difference in levels, that of the worst, its orientation, and all that are wrong."""
    worst = max(means, key=lambda turned: means[turned])
    wrong = ", ".join(str(turned) for turned in sorted(means) if means[turned] > MOST)
    return [len(means), sum(means.values()) / len(means), means[worst], worst, wrong]


def crops(samples: Samples) -> dict[str, Plan]:
    """The whole image, and a box in one of its corners, which turning moves."""
    whole = plan.evaluation(samples.size_N2, 1.0, (1, 1))
    height_N, width_N = samples.size_N2[:, 0], samples.size_N2[:, 1]
    zero_N = np.zeros_like(height_N)
    boxes = {
        "whole": (zero_N, zero_N, height_N, width_N),
        "corner": (zero_N, width_N // 2, height_N // 3, width_N // 3),
    }
    found = {}
    for name, columns in boxes.items():
        parts = {part: getattr(whole, part) for part in Plan.__slots__}
        found[name] = Plan(**parts | {"crop_N4": np.stack(columns, axis=1).astype(np.int32)})
    return found


def orientations(samples: Samples) -> list[int]:
    """The orientation of each image, which is its file's name."""
    return [int(Path(key).stem) for key in samples.key_N]
