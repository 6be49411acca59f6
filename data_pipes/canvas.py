"""A split decoded once: N uint8 images of one size. Photographs are squashed to a little over the output's size."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

import torch

from data_pipes.executor import RAW_SIDE, thread_count
from data_pipes.host import reduction, resize
from data_pipes.plan import SizeHW
from data_pipes.samples import Samples
from data_pipes.spec import DataSpec

logger = logging.getLogger(__name__)


def canvas_size(spec: DataSpec, samples: Samples) -> SizeHW:
    """Height and width of every canvas image: the images' own when they are small and equal, else `canvas_scale`."""
    size_N2 = samples.size_N2
    if len(size_N2) and (size_N2 == size_N2[0]).all() and size_N2.max() <= RAW_SIDE:
        return int(size_N2[0, 0]), int(size_N2[0, 1])
    height, width = (round(side * spec.canvas_scale) for side in spec.image_size)
    return height, width


def decode(spec: DataSpec, samples: Samples) -> torch.Tensor:
    """uint8 N x H x W x C of the whole split."""
    size_HW = canvas_size(spec, samples)
    canvas_NHWC = torch.empty((len(samples), *size_HW, spec.channels), dtype=torch.uint8)
    logger.info("%s: %d images decoded once, %.0f MB", samples.split, len(samples), canvas_NHWC.numel() / 1e6)

    def fill(row: int) -> None:
        height, width = (int(v) for v in samples.size_N2[row])
        image = samples.read(row, channels=spec.channels, reduce=reduction((height, width), size_HW))
        canvas_NHWC[row] = torch.from_numpy(resize(image, size_HW).copy())

    with ThreadPoolExecutor(thread_count(spec), thread_name_prefix="canvas") as pool:
        list(pool.map(fill, range(len(samples))))
    return canvas_NHWC
