"""Affine maps of a whole view at once: padded crop, flips, rotation and the affine step, drawn and composed.

N samples. Maps are 2 x 3 matrices that take the centre of a destination pixel (x, y) to source coordinates. The origin
is the outer corner of the top left pixel, so that its centre is (0.5, 0.5); DALI, OpenCV and torch are one shift away.
"""

from __future__ import annotations

from functools import reduce

import numpy as np
import numpy.typing as npt

from data_pipes.draws import Floats, uniform
from data_pipes.spec import AugmentSpec, Operator


def random_maps(seed: int, view: int, spec: AugmentSpec, count: int, size_HW: tuple[int, int]) -> Floats:
    """Destination-to-source maps of padded crop, flips, rotation and affine step, which compose in this order."""
    steps = []
    if spec.crop_padding:
        u = uniform(seed, view, Operator.CROP, (count, 2))
        shift = np.floor(u * (2 * spec.crop_padding + 1)) - spec.crop_padding
        steps.append(translation(shift[:, 1], shift[:, 0]))
    if spec.flips:
        u = uniform(seed, view, Operator.FLIP, (count, 2))
        steps.append(flips(u[:, 0] < spec.horizontal_flip, u[:, 1] < spec.vertical_flip, size_HW))
    if spec.rotation:
        degrees = (2 * uniform(seed, view, Operator.ROTATION, (count, 1))[:, 0] - 1) * spec.rotation
        steps.append(rotation(degrees, size_HW))
    if spec.affine_step:
        steps.append(_affine_step(seed, view, spec, count, size_HW))
    if not steps:
        return identity(count)
    matrix_N23 = reduce(compose, steps)
    # sin and cos differ in the last digit between machines; plans must not. 2^-24 is far below a pixel.
    return np.asarray(np.rint(matrix_N23 * 2.0**24) / 2.0**24)


def _affine_step(seed: int, view: int, spec: AugmentSpec, count: int, size_HW: tuple[int, int]) -> Floats:
    u = uniform(seed, view, Operator.AFFINE, (count, 5))
    height, width = size_HW
    largest = np.array([spec.translate[0] * width, spec.translate[1] * height])
    zoom = spec.zoom[0] + (spec.zoom[1] - spec.zoom[0]) * u[:, 1]
    shift_N2 = np.rint((2 * u[:, 3:] - 1) * largest)  # whole pixels, as torchvision draws them
    degrees, shear = (2 * u[:, 0] - 1) * spec.affine, (2 * u[:, 2] - 1) * spec.shear
    return inverse_affine(degrees, shear, zoom, shift_N2, size_HW)


def identity(count: int) -> Floats:
    """`count` identity maps."""
    return np.tile(np.eye(2, 3), (count, 1, 1))


def compose(outer_N23: Floats, inner_N23: Floats) -> Floats:
    """Maps that apply `inner`, then `outer`. Written out, which is six times as fast as matmul."""
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
    """Maps that mirror images of this size."""
    matrix_N23 = identity(len(horizontal_N))
    matrix_N23[:, 0, 0] = np.where(horizontal_N, -1.0, 1.0)
    matrix_N23[:, 0, 2] = np.where(horizontal_N, float(size_HW[1]), 0.0)
    matrix_N23[:, 1, 1] = np.where(vertical_N, -1.0, 1.0)
    matrix_N23[:, 1, 2] = np.where(vertical_N, float(size_HW[0]), 0.0)
    return matrix_N23


def rotation(degrees_N: Floats, size_HW: tuple[int, int]) -> Floats:
    """Destination-to-source maps of a counter-clockwise rotation about the centre."""
    zero, one = np.zeros_like(degrees_N), np.ones_like(degrees_N)
    return inverse_affine(-degrees_N, zero, one, np.stack([zero, zero], axis=1), size_HW)


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
