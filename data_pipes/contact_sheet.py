"""Contact sheets: what a plan shows of some samples, rendered by the executor that feeds the network.

R rows, H x W pixels, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, ImageFont

from configs.shown import printable
from data_pipes import pixels, plan, wording
from data_pipes.executors import build
from data_pipes.executors.build import Executor
from data_pipes.mixing import Rows
from data_pipes.plan import Plan
from data_pipes.sources.samples import Samples
from data_pipes.sources.split import evenly_spaced
from data_pipes.spec import DataSpec

TILE = 112  # smaller images are magnified to about this many pixels
GAP = 8
LINE = 22
NAMES = 210
"""Pixels of the column that holds the names."""
HEAD = 64
"""Pixels of the heading, of two lines."""
NARROWEST = 480
"""Pixels that the heading needs."""
LARGE, MIDDLE, SMALL = 21, 15, 12
PAPER, INK, FAINT = (255, 255, 255), (27, 31, 36), (95, 103, 112)


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """The text of a sheet."""

    title: str
    detail: str
    """Second line of the heading."""
    columns: Sequence[str]
    """Over each column."""
    rows: Sequence[tuple[str, str]]
    """Beside each row: the class, in large letters, and the image's name below it."""


def draw(spec: DataSpec, samples: Samples, *, images: int, views: int, seed: int) -> Image.Image:
    """Draw `images` samples spread over the classes, one a row: the evaluation view, then the first training views.

    seed: the plan's.
    """
    rows = by_class(samples, images)
    words = Words(
        title=f"{len(rows):,} of {len(samples):,} images ({samples.split}), as the network sees them",
        detail=f"Training views: {wording.augmentations(spec.augment)}",
        columns=["evaluation", *(f"view {view}" for view in range(views))],
        rows=[_caption(samples, int(row)) for row in rows],
    )
    return compose(tiles(spec, samples, rows, views, seed), words)


def by_class(samples: Samples, count: int) -> Rows:
    """Return rows of `count` samples in the order of their classes, the classes alike; all if there are no more."""
    order = np.argsort(samples.label_N, kind="stable")
    starts = np.flatnonzero(np.diff(samples.label_N[order], prepend=-2))
    groups = np.split(order, starts[1:])
    if count < len(groups):
        return np.array([groups[place][len(groups[place]) // 2] for place in evenly_spaced(len(groups), count)])
    taken = np.zeros(len(groups), np.int64)
    sizes = np.array([len(group) for group in groups])
    while taken.sum() < min(count, len(samples)):
        taken[np.where(taken < sizes, taken, count).argmin()] += 1
    return np.concatenate([group[evenly_spaced(len(group), int(n))] for group, n in zip(groups, taken, strict=True)])


def tiles(spec: DataSpec, samples: Samples, rows: Rows, views: int, seed: int) -> list[npt.NDArray[np.uint8]]:
    """Render each column as uint8 R x H x W x C: the evaluation view, then training views, mixing included."""
    plans = [plan.evaluation(samples.size_N2, spec.eval_crop, spec.image_size)]
    for view in range(views):
        plans.append(plan.training(seed, view, spec.augment, samples.size_N2, spec.image_size))
    needed = np.unique(np.concatenate([rows, *(view.partner_N[rows] for view in plans)]))
    device = torch.device("cpu")
    worker = build.build(build.choose(spec, samples, device), spec, samples, device, rows=needed)
    columns = [_column(worker, spec, needed, rows, view) for view in plans]
    worker.close()
    return columns


def _column(worker: Executor, spec: DataSpec, needed: Rows, rows: Rows, plan_N: Plan) -> npt.NDArray[np.uint8]:
    both = np.concatenate([rows, plan_N.partner_N[rows]])
    plan_B = plan_N.take(both)
    image_BCHW = worker.submit(np.searchsorted(needed, both), plan_B).result()
    place_B = np.tile(np.arange(len(rows), 2 * len(rows)), 2)
    columns = pixels.Columns.of(plan_B, place_B, spec, image_BCHW.device)
    return pixels.levels(pixels.finish(image_BCHW, columns)[: len(rows)], spec).numpy()


def compose(columns: list[npt.NDArray[np.uint8]], words: Words) -> Image.Image:
    """Arrange tiles in a table: heading and titles above, the classes at the left."""
    height, width = columns[0].shape[1:3]
    zoom = max(1, round(TILE / min(height, width)))
    cell_h, cell_w, top = height * zoom + GAP, width * zoom + GAP, HEAD + LINE
    wide = max(GAP + NAMES + len(columns) * cell_w, NARROWEST)
    sheet = Image.new("RGB", (wide, top + len(words.rows) * cell_h + GAP), PAPER)
    pen = ImageDraw.Draw(sheet)
    _write(pen, (GAP, GAP), words.title, _font(MIDDLE, bold=True), wide - 2 * GAP)
    _write(pen, (GAP, GAP + 24), words.detail, _font(SMALL), wide - 2 * GAP, FAINT)
    for x, (title, column) in enumerate(zip(words.columns, columns, strict=True)):
        pen.text((GAP + NAMES + x * cell_w, HEAD), title, FAINT, _font(SMALL))
        for y, tile in enumerate(column):
            picture = Image.fromarray(tile if tile.shape[2] == 3 else tile[:, :, 0])
            magnified = picture.convert("RGB").resize((width * zoom, height * zoom), Image.Resampling.NEAREST)
            sheet.paste(magnified, (GAP + NAMES + x * cell_w, top + y * cell_h))
    for y, (name, key) in enumerate(words.rows):
        middle = top + y * cell_h + (height * zoom - LARGE - SMALL - 8) // 2
        _write(pen, (GAP, middle), name, _font(LARGE, bold=True), NAMES - 2 * GAP)
        _write(pen, (GAP, middle + LARGE + 8), key, _font(SMALL), NAMES - 2 * GAP, FAINT)
    return sheet


def _write(
    pen: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    font: ImageFont.FreeTypeFont,
    room: int,
    ink: tuple[int, int, int] = INK,
) -> None:
    """Write one line, without its end where there is no room."""
    shown = text
    while shown and font.getlength(shown + "…" * (shown != text)) > room:
        shown = shown[:-1]
    pen.text(place, shown + "…" * (shown != text), ink, font)


@cache
def _font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The font of the charts, which matplotlib brings."""
    from matplotlib import get_data_path

    return ImageFont.truetype(Path(get_data_path(), "fonts", "ttf", f"DejaVuSans{'-Bold' * bold}.ttf"), size)


def _caption(samples: Samples, row: int) -> tuple[str, str]:
    label = int(samples.label_N[row])
    return printable(samples.classes[label]) if label >= 0 else "", printable(samples.key_N[row])
