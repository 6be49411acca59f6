"""Boxes and affine matrices of a whole view at once, as pure functions of uniform numbers.

N samples. Boxes are int32 rows (y, x, height, width) in pixels. Matrices are rows (2, 3) that map the centre of a
destination pixel (x, y) to source coordinates; the origin is the outer corner of the top left pixel, so that the first
pixel's centre is (0.5, 0.5), and DALI, OpenCV and torch are all one shift away.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from data_pipes.draws import Floats

Boxes = npt.NDArray[np.int32]
ATTEMPTS = 10


def random_boxes(
    size_N2: npt.NDArray[np.int32],
    scale: tuple[float, float],
    ratio: tuple[float, float],
    draw: Callable[[int], Floats],
    *,
    whole_side: bool,
) -> tuple[Boxes, npt.NDArray[np.bool_]]:
    """Boxes of random area and aspect at random places, and which rows found one.

    The algorithm of torchvision's RandomResizedCrop and RandomErasing: area uniform in `scale` times the image's, width
    over height log-uniform in `ratio`, at most ten attempts. `draw(attempt)` gives N rows of four uniform numbers.
    A box may be as large as the image only with `whole_side`.
    """
    box_N4 = np.zeros((len(size_N2), 4), dtype=np.int32)
    open_rows = np.arange(len(size_N2))
    for attempt in range(ATTEMPTS):
        u = draw(attempt)[open_rows]
        height, width = size_N2[open_rows, 0], size_N2[open_rows, 1]
        area = height * width * (scale[0] + (scale[1] - scale[0]) * u[:, 0])
        low, high = np.log(ratio[0]), np.log(ratio[1])
        aspect = np.exp(low + (high - low) * u[:, 1])
        w, h = np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))
        slack = 0 if whole_side else 1
        fits = (w > 0) & (h > 0) & (w + slack <= width) & (h + slack <= height)
        y = np.floor(u[:, 2] * (height - h + 1))
        x = np.floor(u[:, 3] * (width - w + 1))
        box_N4[open_rows[fits]] = np.stack([y, x, h, w], axis=1)[fits]
        open_rows = open_rows[~fits]
        if len(open_rows) == 0:
            break
    found = np.ones(len(size_N2), dtype=bool)
    found[open_rows] = False
    return box_N4, found


def centred_boxes(size_N2: npt.NDArray[np.int32], ratio: tuple[float, float]) -> Boxes:
    """The largest centred box whose aspect lies in `ratio`: RandomResizedCrop's last resort."""
    height, width = size_N2[:, 0].astype(np.float64), size_N2[:, 1].astype(np.float64)
    aspect = width / height
    h = np.where(aspect < ratio[0], np.rint(width / ratio[0]), height)
    w = np.where(aspect > ratio[1], np.rint(height * ratio[1]), width)
    return np.stack([(height - h) // 2, (width - w) // 2, h, w], axis=1).astype(np.int32)


def centre_boxes(size_N2: npt.NDArray[np.int32], share: float, size_HW: tuple[int, int]) -> Boxes:
    """Centred boxes of the output's aspect, `share` times the largest that fits: Resize then CenterCrop in one."""
    unit_N = (size_N2 / np.array(size_HW)).min(axis=1) * share
    box_N2 = np.clip(np.rint(unit_N[:, None] * np.array(size_HW)), 1, size_N2)
    return np.concatenate([(size_N2 - box_N2) // 2, box_N2], axis=1).astype(np.int32)


def identity(count: int) -> Floats:
    """`count` maps that change nothing."""
    return np.tile(np.eye(2, 3), (count, 1, 1))


def compose(outer_N23: Floats, inner_N23: Floats) -> Floats:
    """The maps that apply `inner` to a point and `outer` to the result. Written out: six times as fast as matmul."""
    (a, b, c), (d, e, f) = np.moveaxis(outer_N23, 0, -1)
    (p, q, r), (s, t, u) = np.moveaxis(inner_N23, 0, -1)
    first = a * p + b * s, a * q + b * t, a * r + b * u + c
    second = d * p + e * s, d * q + e * t, d * r + e * u + f
    return np.stack([*first, *second], axis=1).reshape(-1, 2, 3)


def translation(x_N: npt.ArrayLike, y_N: npt.ArrayLike) -> Floats:
    """Maps that add (x, y) to a point."""
    x, y = np.asarray(x_N, dtype=np.float64), np.asarray(y_N, dtype=np.float64)
    matrix_N23 = identity(len(x))
    matrix_N23[:, 0, 2], matrix_N23[:, 1, 2] = x, y
    return matrix_N23


def flips(horizontal_N: npt.NDArray[np.bool_], vertical_N: npt.NDArray[np.bool_], size_HW: tuple[int, int]) -> Floats:
    """Mirrors; a flip is its own inverse."""
    matrix_N23 = identity(len(horizontal_N))
    matrix_N23[:, 0, 0] = np.where(horizontal_N, -1.0, 1.0)
    matrix_N23[:, 0, 2] = np.where(horizontal_N, float(size_HW[1]), 0.0)
    matrix_N23[:, 1, 1] = np.where(vertical_N, -1.0, 1.0)
    matrix_N23[:, 1, 2] = np.where(vertical_N, float(size_HW[0]), 0.0)
    return matrix_N23


def inverse_affine(
    degrees_N: Floats, shear_N: Floats, zoom_N: Floats, shift_N2: Floats, size_HW: tuple[int, int]
) -> Floats:
    """Destination-to-source maps of scale, shear along x, clockwise rotation about the centre, shift.

    The same convention as torchvision's `affine` (whose `rotate` turns the other way); `shift_N2` is (x, y) in pixels.
    """
    angle, tangent = np.deg2rad(degrees_N), np.tan(np.deg2rad(shear_N))
    cos, sin = np.cos(angle), np.sin(angle)
    a, b = (cos - sin * tangent) / zoom_N, (sin + cos * tangent) / zoom_N
    c, d = -sin / zoom_N, cos / zoom_N
    half_y, half_x = size_HW[0] / 2, size_HW[1] / 2
    x, y = -half_x - shift_N2[:, 0], -half_y - shift_N2[:, 1]  # from the centre of the shifted image
    return np.stack([a, b, a * x + b * y + half_x, c, d, c * x + d * y + half_y], axis=1).reshape(-1, 2, 3)
