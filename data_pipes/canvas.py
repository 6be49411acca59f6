"""A split decoded once: R uint8 images of one size. Photographs are squashed to a little over the output's size."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch

from data_pipes.host import reduction, resize
from data_pipes.mixing import Rows
from data_pipes.plan import SizeHW
from data_pipes.samples import Samples
from data_pipes.spec import DataSpec


def canvas_size(spec: DataSpec, samples: Samples) -> SizeHW:
    """Height and width of every canvas image: the images' own where those are equal and not larger than needed.

    What is larger is shrunk here, with antialias, to `canvas_scale` times the output: one warp cannot do that.
    """
    height, width = (round(side * spec.canvas_scale) for side in spec.image_size)
    size_N2 = samples.size_N2
    if len(size_N2) and (size_N2 == size_N2[0]).all() and (size_N2[0] <= (height, width)).all():
        return int(size_N2[0, 0]), int(size_N2[0, 1])
    return height, width


def decode(spec: DataSpec, samples: Samples, row_R: Rows) -> torch.Tensor:
    """uint8 R x H x W x C of some rows of a split."""
    size_HW = canvas_size(spec, samples)
    canvas_RHWC = torch.empty((len(row_R), *size_HW, spec.channels), dtype=torch.uint8)

    def fill(place: int) -> None:
        row = int(row_R[place])
        height, width = (int(v) for v in samples.size_N2[row])
        image = samples.read(row, channels=spec.channels, reduce=reduction((height, width), size_HW))
        canvas_RHWC[place] = torch.from_numpy(resize(image, size_HW).copy())

    with ThreadPoolExecutor(spec.thread_count, thread_name_prefix="canvas") as pool:
        list(pool.map(fill, range(len(row_R))))
    return canvas_RHWC
