"""One image through its plan on a CPU, by OpenCV and torch: crop, resize, affine. B views, H x W pixels, C channels.

From an image at full size this is torchvision's result to one level. An image that was decoded at a reduced scale, or
squashed, is first brought to the output's grid with the crop's exact fractions of pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from data_pipes.draws import Floats
from data_pipes.plan import Plan, SizeHW

Pixels = npt.NDArray[np.uint8]
# What a decoder must leave of the output's resolution when it shrinks an image. A view that is only resized is shown as
# sharp as torchvision shows it; one that is turned is interpolated once more anyway, and decoding is most of its cost.
RESIZED_MARGIN, TURNED_MARGIN = 2.0, 0.75
ANTIALIAS_ABOVE = 1.5  # beyond this, four neighbours are too few for an output pixel
MARGIN = 2  # pixels around a crop that its outermost output pixels may look at
FLIPS = {(1.0, 1.0): None, (-1.0, 1.0): 1, (1.0, -1.0): 0, (-1.0, -1.0): -1}
LINEAR = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP


@dataclass(frozen=True, slots=True)
class View:
    """What to do with one image: a row of a plan in the form in which a thread needs it."""

    size_HW: SizeHW
    """Of the upright original."""
    crop: Sequence[int]
    """(y, x, h, w) in pixels of the original."""
    flip: int | None
    """As OpenCV counts: 0 upside down, 1 left to right, -1 both; None: none."""
    affine_23: Floats | None
    """From destination to source as OpenCV wants it, with the origin in the first pixel's centre; None: none."""
    erase: Sequence[int]
    """(y, x, h, w) in output pixels; height 0: none."""
    reduce: int
    """By how much a decoder may shrink the image: 1, 2, 4 or 8."""


def views(plan_B: Plan, size_B2: npt.NDArray[np.int32], output_HW: SizeHW, *, encoded: bool) -> Sequence[View]:
    """The rows of a plan for images of these original sizes, which are decoded for it or lie ready.

    Arithmetic on all rows at once leaves the threads little to do.
    """
    matrix_B23 = plan_B.matrix_N23
    scale_B2 = matrix_B23[:, (0, 1), (0, 1)]
    mirrored_B23 = np.zeros_like(matrix_B23)
    mirrored_B23[:, (0, 1), (0, 1)] = scale_B2
    mirrored_B23[:, :, 2] = np.where(scale_B2 < 0, output_HW[::-1], 0)
    flipped_B = (matrix_B23 == mirrored_B23).all(axis=(1, 2)) & (np.abs(scale_B2) == 1).all(axis=1)
    margin_B = np.where(flipped_B, RESIZED_MARGIN, TURNED_MARGIN)
    reduce_B = reduction(plan_B.crop_N4[:, 2:], output_HW, margin_B if encoded else np.inf)
    centred_B23 = matrix_B23.copy()
    centred_B23[:, :, 2] += 0.5 * (matrix_B23[:, :, 0] + matrix_B23[:, :, 1]) - 0.5
    return [
        View(
            size_HW=(size[0], size[1]),
            crop=crop,
            flip=FLIPS[scale[0], scale[1]] if flipped else None,
            affine_23=None if flipped else centred_23,
            erase=erase,
            reduce=reduce,
        )
        for size, crop, scale, flipped, centred_23, erase, reduce in zip(
            size_B2.tolist(),
            plan_B.crop_N4.tolist(),
            scale_B2.tolist(),
            flipped_B.tolist(),
            centred_B23,
            plan_B.erase_N4.tolist(),
            reduce_B.tolist(),
            strict=True,
        )
    ]


def reduction(crop_B2: npt.NDArray[np.int32], output_HW: SizeHW, margin: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """The largest of 8, 4, 2, 1 by which a decoder may shrink each image and leave `margin` times the resolution."""
    spare_B = (crop_B2 / np.array(output_HW)).min(axis=1) / margin
    return np.select([spare_B >= 8, spare_B >= 4, spare_B >= 2], [8, 4, 2], 1)


def draw(image_HWC: Pixels, view: View, output_HW: SizeHW) -> Pixels:
    """The view, erasing excepted; black outside the crop.

    `image_HWC` is the original or a smaller rendering of all of it; where there is nothing to do it is returned itself.
    """
    if image_HWC.shape[:2] == view.size_HW:
        y, x, h, w = view.crop
        drawn = resize(padded(image_HWC[y : y + h, x : x + w]), output_HW)
    else:
        drawn = zoom(image_HWC, view, output_HW)
    if view.flip is not None:
        drawn = flip(drawn, view.flip)
    if view.affine_23 is not None:
        drawn = affine(drawn, view.affine_23, output_HW, cv2.BORDER_CONSTANT)
    return cv2.cvtColor(drawn, cv2.COLOR_RGBA2RGB) if drawn.shape[2] == 4 else drawn


def padded(image_HWC: Pixels) -> Pixels:
    """Three channels as four: OpenCV warps and torch resizes these in half of the time."""
    return cv2.cvtColor(image_HWC, cv2.COLOR_RGB2RGBA) if image_HWC.shape[2] == 3 else image_HWC


def resize(image_HWC: Pixels, size_HW: SizeHW) -> Pixels:
    """Bilinear with antialias, as torchvision's (it is the same kernel)."""
    if image_HWC.shape[:2] == size_HW:
        return image_HWC
    image = torch.from_numpy(np.ascontiguousarray(image_HWC)).permute(2, 0, 1)[None]
    resized = F.interpolate(image, size_HW, mode="bilinear", antialias=True, align_corners=False)
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


def zoom(image_HWC: Pixels, view: View, output_HW: SizeHW) -> Pixels:
    """The crop at the output's size, with the exact fractions of pixels at which it begins and ends."""
    (top, bottom, y, h), (left, right, x, w) = (_span(image_HWC, view, axis) for axis in (0, 1))
    region = padded(image_HWC[top:bottom, left:right])
    shrink_y, shrink_x = max(1.0, h / output_HW[0]), max(1.0, w / output_HW[1])
    if max(shrink_y, shrink_x) > ANTIALIAS_ABOVE:
        rows, columns = region.shape[:2]
        region = resize(region, (max(1, round(rows / shrink_y)), max(1, round(columns / shrink_x))))
        y, h = (side * region.shape[0] / rows for side in (y, h))
        x, w = (side * region.shape[1] / columns for side in (x, w))
    scale_y, scale_x = h / output_HW[0], w / output_HW[1]
    matrix_23 = np.array([[scale_x, 0, x + 0.5 * scale_x - 0.5], [0, scale_y, y + 0.5 * scale_y - 0.5]])
    return affine(region, matrix_23, output_HW, cv2.BORDER_REPLICATE)


def flip(image_HWC: Pixels, code: int) -> Pixels:
    """See `View.flip`."""
    flipped: Pixels = cv2.flip(image_HWC, code)
    return flipped.reshape(image_HWC.shape)  # OpenCV drops a single channel


def _span(image_HWC: Pixels, view: View, axis: int) -> tuple[int, int, float, float]:
    """Along one axis: first and last pixel to look at, and where from the first the crop starts, and its length."""
    pixels = image_HWC.shape[axis]
    # A decoder that halves 501 pixels gives 251, the last of which is half outside: the scale is a half all the same.
    reduced = view.reduce > 1 and pixels == -(-view.size_HW[axis] // view.reduce)
    scale = 1 / view.reduce if reduced else pixels / view.size_HW[axis]
    start, length = view.crop[axis] * scale, view.crop[axis + 2] * scale
    first = max(0, int(start) - MARGIN)
    return first, min(pixels, int(start + length) + 1 + MARGIN), start - first, length


def affine(image_HWC: Pixels, matrix_23: Floats, output_HW: SizeHW, border: int) -> Pixels:
    """Destination-to-source, bilinear, between the centres of pixels."""
    warped: Pixels = cv2.warpAffine(image_HWC, matrix_23, (output_HW[1], output_HW[0]), flags=LINEAR, borderMode=border)
    return warped.reshape(*output_HW, -1)
