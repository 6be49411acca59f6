"""Rendering of single images on a CPU, by OpenCV and torch: crop, resize, affine. B images, H x W pixels, C channels.

From an image at full size, the result is torchvision's to one level. Of an image that was decoded at a reduced scale or
squashed, the crop is resampled to the output's size first, with the exact fractions of pixels at its borders.
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
# Resolution that a decoder must leave when it reduces an image, in units of the output's. An image that is only resized
# stays as sharp as torchvision's; a warped one is interpolated once more anyway, and decoding is most of its cost.
RESIZED_MARGIN, WARPED_MARGIN = 2.0, 0.75
ANTIALIAS_ABOVE = 1.5  # above this scale, bilinear interpolation of four neighbours aliases
MARGIN = 2  # pixels around a crop that its outermost output pixels may depend on
FLIPS = {(1.0, 1.0): None, (-1.0, 1.0): 1, (1.0, -1.0): 0, (-1.0, -1.0): -1}
LINEAR = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP


@dataclass(frozen=True, slots=True)
class Rendering:
    """A row of a plan in OpenCV's terms: how one image is rendered."""

    size_HW: SizeHW
    """Size of the upright original."""
    crop: Sequence[int]
    """(y, x, h, w) in pixels of the original."""
    flip: int | None
    """OpenCV's code: 0 upside down, 1 left to right, -1 both; None: no flip."""
    affine_23: Floats | None
    """Destination-to-source map with OpenCV's origin, the centre of the first pixel; None: no warp."""
    erase: Sequence[int]
    """(y, x, h, w) in output pixels; height 0: no erasing."""
    reduce: int
    """Largest factor by which a decoder may reduce the image: 1, 2, 4 or 8."""


def renderings(
    plan_B: Plan, size_B2: npt.NDArray[np.int32], output_HW: SizeHW, *, encoded: bool
) -> Sequence[Rendering]:
    """How each row of a plan is rendered. All rows are computed at once: threads then do pixel work only.

    size_B2: (height, width) of the upright originals. encoded: images are files, to be decoded at a reduced scale.
    """
    matrix_B23 = plan_B.matrix_N23
    scale_B2 = matrix_B23[:, (0, 1), (0, 1)]
    mirrored_B23 = np.zeros_like(matrix_B23)
    mirrored_B23[:, (0, 1), (0, 1)] = scale_B2
    mirrored_B23[:, :, 2] = np.where(scale_B2 < 0, output_HW[::-1], 0)
    flipped_B = (matrix_B23 == mirrored_B23).all(axis=(1, 2)) & (np.abs(scale_B2) == 1).all(axis=1)
    margin_B = np.where(flipped_B, RESIZED_MARGIN, WARPED_MARGIN)
    reduce_B = reduction(plan_B.crop_N4[:, 2:], output_HW, margin_B if encoded else np.inf)
    centred_B23 = matrix_B23.copy()
    centred_B23[:, :, 2] += 0.5 * (matrix_B23[:, :, 0] + matrix_B23[:, :, 1]) - 0.5
    return [
        Rendering(
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
    """The largest of 8, 4, 2, 1 by which a decoder may reduce each image and leave `margin` times the output's size."""
    spare_B = (crop_B2 / np.array(output_HW)).min(axis=1) / margin
    return np.select([spare_B >= 8, spare_B >= 4, spare_B >= 2], [8, 4, 2], 1)


def render(image_HWC: Pixels, rendering: Rendering, output_HW: SizeHW) -> Pixels:
    """The crop, resized, flipped and warped; black outside the crop. Erasing is left to the caller.

    image_HWC: the original or a reduced version of it. It is returned itself where nothing has to be done.
    """
    if image_HWC.shape[:2] == rendering.size_HW:
        y, x, h, w = rendering.crop
        output = resize(padded(image_HWC[y : y + h, x : x + w]), output_HW)
    else:
        output = zoom(image_HWC, rendering, output_HW)
    if rendering.flip is not None:
        output = flip(output, rendering.flip)
    if rendering.affine_23 is not None:
        output = affine(output, rendering.affine_23, output_HW, cv2.BORDER_CONSTANT)
    return cv2.cvtColor(output, cv2.COLOR_RGBA2RGB) if output.shape[2] == 4 else output


def padded(image_HWC: Pixels) -> Pixels:
    """Three channels padded to four, which OpenCV warps and torch resizes in half the time."""
    return cv2.cvtColor(image_HWC, cv2.COLOR_RGB2RGBA) if image_HWC.shape[2] == 3 else image_HWC


def resize(image_HWC: Pixels, size_HW: SizeHW) -> Pixels:
    """Bilinear with antialias, as torchvision's (it is the same kernel)."""
    if image_HWC.shape[:2] == size_HW:
        return image_HWC
    image = torch.from_numpy(np.ascontiguousarray(image_HWC)).permute(2, 0, 1)[None]
    resized = F.interpolate(image, size_HW, mode="bilinear", antialias=True, align_corners=False)
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


def zoom(image_HWC: Pixels, rendering: Rendering, output_HW: SizeHW) -> Pixels:
    """The crop of a reduced image at the output's size, with exact fractions of pixels at its borders."""
    (top, bottom, y, h), (left, right, x, w) = (_span(image_HWC, rendering, axis) for axis in (0, 1))
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
    """The mirrored image; for codes see `Rendering.flip`."""
    flipped: Pixels = cv2.flip(image_HWC, code)
    return flipped.reshape(image_HWC.shape)  # OpenCV drops a single channel


def _span(image_HWC: Pixels, rendering: Rendering, axis: int) -> tuple[int, int, float, float]:
    """Along one axis: start and end of the region needed, the crop's offset from its start, the crop's length."""
    pixels = image_HWC.shape[axis]
    # 501 pixels at half scale are 251, the last of which covers half a pixel: the scale is 1/2 and not 251/501.
    reduced = rendering.reduce > 1 and pixels == -(-rendering.size_HW[axis] // rendering.reduce)
    scale = 1 / rendering.reduce if reduced else pixels / rendering.size_HW[axis]
    start, length = rendering.crop[axis] * scale, rendering.crop[axis + 2] * scale
    first = max(0, int(start) - MARGIN)
    return first, min(pixels, int(start + length) + 1 + MARGIN), start - first, length


def affine(image_HWC: Pixels, matrix_23: Floats, output_HW: SizeHW, border: int) -> Pixels:
    """Bilinear warp by a destination-to-source map between pixel centres."""
    warped: Pixels = cv2.warpAffine(image_HWC, matrix_23, (output_HW[1], output_HW[0]), flags=LINEAR, borderMode=border)
    return warped.reshape(*output_HW, -1)
