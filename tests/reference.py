"""A slow and obviously correct rendering of a plan by torchvision, which executors are compared with, and test images.

H x W pixels, C channels, N images of a split; coordinates are in float64 and one image is rendered at a time.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as T

from data_pipes.plan import Plan
from data_pipes.sources.images import ArrayImages, as_channels
from data_pipes.sources.samples import Samples

Pixels = NDArray[np.uint8]


def render(image_HWC: Pixels, plan_1: Plan, output_HW: tuple[int, int], fill_C: Pixels) -> Pixels:
    """An upright image rendered by a plan of one row, without mixing: crop, resize, affine on black, erase."""
    assert len(plan_1) == 1
    y, x, h, w = plan_1.crop_N4[0].tolist()
    assert y >= 0 and x >= 0 and h > 0 and w > 0 and y + h <= image_HWC.shape[0] and x + w <= image_HWC.shape[1]
    crop_CHW = torch.from_numpy(image_HWC[y : y + h, x : x + w].copy()).permute(2, 0, 1)
    resized_CHW = T.resize(crop_CHW, list(output_HW), antialias=True)
    warped_CHW = affine(resized_CHW, plan_1.matrix_N23[0])
    top, left, height, width = plan_1.erase_N4[0].tolist()
    warped_CHW[:, top : top + height, left : left + width] = torch.from_numpy(fill_C)[:, None, None]
    return np.ascontiguousarray(warped_CHW.permute(1, 2, 0).numpy())


def affine(image_CHW: torch.Tensor, matrix_23: NDArray[np.float64]) -> torch.Tensor:
    """Bilinear, black outside; `matrix_23` maps corner-origin destination pixels to source pixels."""
    height, width = image_CHW.shape[1:]
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float64) + 0.5, torch.arange(width, dtype=torch.float64) + 0.5, indexing="ij"
    )
    source_2HW = torch.einsum("ij,jhw->ihw", torch.from_numpy(matrix_23), torch.stack([x, y, torch.ones_like(x)]))
    grid_HW2 = torch.stack([2 * source_2HW[0] / width - 1, 2 * source_2HW[1] / height - 1], dim=-1)
    warped = F.grid_sample(
        image_CHW[None].double(), grid_HW2[None], mode="bilinear", padding_mode="zeros", align_corners=False
    )
    return warped[0].round().clamp(0, 255).to(torch.uint8)


def affine_parameters(matrix_N23: NDArray[np.float64], size_HW: tuple[int, int]) -> dict[str, NDArray[np.float64]]:
    """Angle, scale, shear and shift of maps in torchvision's convention."""
    a, b, c, d = matrix_N23[:, 0, 0], matrix_N23[:, 0, 1], matrix_N23[:, 1, 0], matrix_N23[:, 1, 1]
    angle, zoom = np.arctan2(-c, d), 1 / np.hypot(c, d)
    tangent = zoom * (b * np.cos(angle) - a * np.sin(angle))
    centre = np.array([size_HW[1] / 2, size_HW[0] / 2])
    shift = np.linalg.solve(matrix_N23[:, :, :2], (centre - matrix_N23[:, :, 2])[..., None])[..., 0] - centre
    shear = np.rad2deg(np.arctan(tangent))
    return {"angle": np.rad2deg(angle), "zoom": zoom, "shear": shear, "dx": shift[:, 0], "dy": shift[:, 1]}


class ListImages:
    """A store of images of different sizes."""

    def __init__(self, images: Sequence[Pixels]) -> None:
        self.images = list(images)
        self.crc_N = np.array([zlib.crc32(image.tobytes()) for image in images], np.uint32)

    def __len__(self) -> int:
        return len(self.images)

    def read(self, row: int, *, channels: int, reduce: int = 1) -> Pixels:
        return as_channels(self.images[row].copy(), channels)


def in_memory(images: Sequence[Pixels] | Pixels, classes: int = 3) -> Samples:
    """A training split of these images, HxWxC each, labelled 0, 1, 2, 0, 1, ..."""
    n = len(images)
    store = ArrayImages(images) if isinstance(images, np.ndarray) else ListImages(images)
    return Samples(
        split="train",
        classes=tuple(f"class {k}" for k in range(classes)),
        key_N=tuple(str(i) for i in range(n)),
        label_N=np.arange(n, dtype=np.int64) % classes,
        size_N2=np.array([image.shape[:2] for image in images], np.int32).reshape(n, 2),
        row_N=np.arange(n, dtype=np.int64),
        images=store,
    )


def picture(height: int, width: int, channels: int = 3, seed: int = 0) -> Pixels:
    """A smooth test image, nowhere constant: coarse blobs over a gradient, with a little noise."""
    rng = np.random.default_rng((seed, height, width))
    coarse = torch.from_numpy(rng.uniform(0, 160, (1, channels, max(2, height // 12), max(2, width // 12))))
    blobs_HWC = F.interpolate(coarse, (height, width), mode="bicubic")[0].permute(1, 2, 0).numpy()
    slope_HW1 = np.linspace(0, 60, height)[:, None, None] + np.linspace(0, 30, width)[None, :, None]
    return (blobs_HWC + slope_HW1 + rng.normal(0, 3, (height, width, channels))).clip(0, 255).astype(np.uint8)


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> Pixels:
    """White noise, the hardest image to interpolate."""
    return np.random.default_rng((seed, height, width)).integers(0, 256, (height, width, channels), dtype=np.uint8)


def difference(a: Pixels, b: Pixels) -> NDArray[np.int64]:
    """Absolute difference in levels."""
    assert a.shape == b.shape and a.dtype == b.dtype == np.uint8
    return np.abs(a.astype(np.int64) - b)


def psnr(a: Pixels, b: Pixels) -> float:
    """Peak signal-to-noise ratio in decibels."""
    return float(10 * np.log10(255**2 / max(float((difference(a, b) ** 2).mean()), 1e-12)))
