"""Boxes of a whole view at once: random crops, erased boxes and the centred crop of evaluation.

N samples. Boxes are int32 rows (y, x, height, width) in pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from data_pipes.draws import Floats, uniform
from data_pipes.spec import AugmentSpec, Operator

Boxes = npt.NDArray[np.int32]
Sizes = npt.NDArray[np.int32]
"""Rows (height, width) in pixels."""
ATTEMPTS = 10


def crop(seed: int, view: int, spec: AugmentSpec, size_N2: Sizes) -> Boxes:
    """Crops of images of these sizes: random ones, or the whole image without `crop_scale`."""
    if spec.crop_scale is None:
        return np.concatenate([np.zeros_like(size_N2), size_N2], axis=1).astype(np.int32)

    def draw(attempt: int) -> Floats:
        return uniform(seed, view, Operator.CROP, (len(size_N2), 4), attempt)

    box_N4, found = random_boxes(size_N2, spec.crop_scale, spec.crop_ratio, draw, whole_side=True)
    return np.where(found[:, None], box_N4, central_boxes(size_N2, spec.crop_ratio)).astype(np.int32)


def erase(seed: int, view: int, spec: AugmentSpec, count: int, size_HW: tuple[int, int]) -> Boxes:
    """Boxes to erase from `count` outputs of one size; height 0 where nothing is erased."""
    if spec.erase == 0:
        return np.zeros((count, 4), dtype=np.int32)
    chosen = uniform(seed, view, Operator.ERASE, (count, 1))[:, 0] < spec.erase

    def draw(attempt: int) -> Floats:
        return uniform(seed, view, Operator.ERASE, (count, 4), attempt + 1)

    size_N2 = np.tile(np.array(size_HW, dtype=np.int32), (count, 1))
    tall = (1 / spec.erase_ratio[1], 1 / spec.erase_ratio[0])  # torchvision erases with ratio height over width
    box_N4, found = random_boxes(size_N2, spec.erase_scale, tall, draw, whole_side=False)
    return np.where((chosen & found)[:, None], box_N4, 0).astype(np.int32)


def random_boxes(
    size_N2: Sizes,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    draw: Callable[[int], Floats],
    *,
    whole_side: bool,
) -> tuple[Boxes, npt.NDArray[np.bool_]]:
    """Boxes of random area and aspect at random places, and which rows have one.

    The algorithm of torchvision's RandomResizedCrop and RandomErasing: area uniform in `scale` times the image's, width
    over height log-uniform in `ratio`, at most ten attempts. `draw(attempt)` gives N rows of four uniform numbers.
    With `whole_side`, a box may be as high or wide as the image.
    """
    box_N4 = np.zeros((len(size_N2), 4), dtype=np.int32)
    rest = np.arange(len(size_N2))
    for attempt in range(ATTEMPTS):
        u = draw(attempt)[rest]
        height, width = size_N2[rest, 0], size_N2[rest, 1]
        area = height * width * (scale[0] + (scale[1] - scale[0]) * u[:, 0])
        low, high = np.log(ratio[0]), np.log(ratio[1])
        aspect = np.exp(low + (high - low) * u[:, 1])
        w, h = np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))
        slack = 0 if whole_side else 1
        fits = (w > 0) & (h > 0) & (w + slack <= width) & (h + slack <= height)
        y = np.floor(u[:, 2] * (height - h + 1))
        x = np.floor(u[:, 3] * (width - w + 1))
        box_N4[rest[fits]] = np.stack([y, x, h, w], axis=1)[fits]
        rest = rest[~fits]
        if len(rest) == 0:
            break
    found = np.ones(len(size_N2), dtype=bool)
    found[rest] = False
    return box_N4, found


def central_boxes(size_N2: Sizes, ratio: tuple[float, float]) -> Boxes:
    """The largest centred boxes whose aspect lies in `ratio`: RandomResizedCrop's fallback."""
    height, width = size_N2[:, 0].astype(np.float64), size_N2[:, 1].astype(np.float64)
    aspect = width / height
    h = np.where(aspect < ratio[0], np.rint(width / ratio[0]), height)
    w = np.where(aspect > ratio[1], np.rint(height * ratio[1]), width)
    return np.stack([(height - h) // 2, (width - w) // 2, h, w], axis=1).astype(np.int32)


def centre_boxes(size_N2: Sizes, share: float, size_HW: tuple[int, int]) -> Boxes:
    """Centred boxes of the output's aspect, `share` times the largest that fits: Resize then CenterCrop in one."""
    unit_N = (size_N2 / np.array(size_HW)).min(axis=1) * share
    box_N2 = np.clip(np.rint(unit_N[:, None] * np.array(size_HW)), 1, size_N2)
    return np.concatenate([(size_N2 - box_N2) // 2, box_N2], axis=1).astype(np.int32)
