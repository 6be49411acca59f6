"""Contact sheets: what a plan shows of some samples, rendered by the executor that feeds the network.

R rows, H x W pixels, C channels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, ImageFont

from configs.shown import printable
from data_pipes import pixels, plan
from data_pipes.executors import build
from data_pipes.executors.build import Executor
from data_pipes.mixing import Rows
from data_pipes.plan import Plan
from data_pipes.sources.samples import Samples
from data_pipes.spec import DataSpec

TILE = 112  # smaller images are magnified to about this many pixels
GAP = 8
LINE = 20
PAPER, INK, FAINT = (250, 250, 248), (40, 40, 40), (130, 130, 130)


def draw(spec: DataSpec, samples: Samples, *, images: int, views: int, seed: int) -> Image.Image:
    """Draw `images` samples spread over the split, one a row: the evaluation view, then the first training views.

    seed: the plan's.
    """
    rows = samples.spread(images)
    columns = tiles(spec, samples, rows, views, seed)
    titles = ["evaluation", *(f"view {view}" for view in range(views))]
    return compose(columns, titles, [_caption(samples, int(row)) for row in rows])


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


def compose(columns: list[npt.NDArray[np.uint8]], titles: list[str], captions: list[str]) -> Image.Image:
    """Arrange tiles in a table: a title over each column, a caption under each row."""
    height, width = columns[0].shape[1:3]
    zoom = max(1, round(TILE / min(height, width)))
    cell_h, cell_w = height * zoom + LINE + GAP, width * zoom + GAP
    sheet = Image.new("RGB", (GAP + len(columns) * cell_w, GAP + LINE + len(captions) * cell_h), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for x, (title, column) in enumerate(zip(titles, columns, strict=True)):
        pen.text((GAP + x * cell_w, GAP), title, INK, font)
        for y, tile in enumerate(column):
            picture = Image.fromarray(tile if tile.shape[2] == 3 else tile[:, :, 0])
            magnified = picture.convert("RGB").resize((width * zoom, height * zoom), Image.Resampling.NEAREST)
            sheet.paste(magnified, (GAP + x * cell_w, GAP + LINE + y * cell_h))
    for y, caption in enumerate(captions):
        pen.text((GAP, GAP + LINE + y * cell_h + height * zoom + 1), caption, FAINT, font)
    return sheet


def _caption(samples: Samples, row: int) -> str:
    label = int(samples.label_N[row])
    return printable(f"{samples.key_N[row]}  {samples.classes[label] if label >= 0 else ''}")
