"""Comparison of an ONNX graph with torch on the same images.

Shapes: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from onnxruntime.capi import onnxruntime_pybind11_state as runtime_state
from torch import Tensor, nn

from configs.errors import InputError
from models.artefact import Card
from models.export import pixel_input
from models.export.runtime import OnnxNet

BATCH_SIZES = (1, 2, 7, 64)
"""1: exporters may fix the batch size there. 7: odd. 64: other kernels than for a few images."""
TOLERANCE = 1e-4
"""Largest difference over the standard deviation of the logits. Rounding gave 5e-7 to 4e-5 on our networks and the
libraries' (as from float32 to float64 in torch); a layer whose weights are one per cent off gives 1e-2 to 3e-1, unless
its scale is still near zero."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parity:
    """Difference between ONNX Runtime and torch on the same images."""

    largest_difference: float
    """Largest absolute difference between logits."""
    logit_spread: float
    """Standard deviation over images and classes."""
    image_spread: float
    """Standard deviation over images, root mean square over classes."""
    batch_sizes: tuple[int, ...] = BATCH_SIZES

    @property
    def relative(self) -> float:
        """The largest difference in units of the logits' spread."""
        return self.largest_difference / self.logit_spread if self.logit_spread else math.inf


def compare(net: nn.Module, card: Card, content: bytes) -> Parity:
    """Run torch and ONNX Runtime on the same images, in batches of 1, 2, 7 and 64.

    A graph that takes uint8 pixels gets them, and torch the same pixels normalised.

    InputError: ONNX Runtime cannot run a batch, or the logits differ by more than TOLERANCE, or hardly vary.
    """
    run = OnnxNet(content)
    given, image_BCHW = _inputs(card, pixels=run.takes_pixels)
    wanted_BK = torch.cat([_logits(net, card, part) for part in torch.split(image_BCHW, list(BATCH_SIZES))])
    try:
        found_BK = torch.cat([run(part) for part in torch.split(given, list(BATCH_SIZES))])
    except (runtime_state.InvalidArgument, runtime_state.Fail, runtime_state.RuntimeException) as error:
        raise InputError(f"ONNX Runtime cannot run {card.model.name} at batch sizes {BATCH_SIZES}: {error}") from error
    parity = Parity(
        largest_difference=float((found_BK - wanted_BK).abs().max()),
        logit_spread=float(wanted_BK.std(correction=0)),
        image_spread=float(wanted_BK.var(dim=0, correction=0).mean().sqrt()),
    )
    _require(parity, card.model.name)
    return parity


def _logits(net: nn.Module, card: Card, image_BCHW: Tensor) -> Tensor:
    """Return torch's logits. InputError: they are not one row per image and one column per class."""
    wanted = (len(image_BCHW), len(card.classes))
    try:
        with torch.inference_mode():
            logits_BK: Tensor = net(image_BCHW)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise InputError(f"{card.model.name} does not take {len(image_BCHW)} images at once: {error}") from error
    if tuple(logits_BK.shape) != wanted:
        raise InputError(f"{card.model.name} gives logits of shape {tuple(logits_BK.shape)}; {wanted} would be right")
    return logits_BK


def _require(parity: Parity, name: str) -> None:
    """InputError unless the logits agree up to rounding, and vary enough for that to mean something."""
    if parity.image_spread <= TOLERANCE * parity.logit_spread:
        raise InputError(
            f"{name} gives nearly the same logits for every image (they vary by {parity.image_spread:.1e}, between "
            f"classes by {parity.logit_spread:.1e}), so no comparison could show that its ONNX file is right; "
            "train it first"
        )
    if not parity.relative <= TOLERANCE:  # also true for NaN
        raise InputError(
            f"ONNX Runtime and torch disagree on {name}: logits differ by up to {parity.largest_difference:.1e}, which "
            f"is {parity.relative:.1e} of their spread; at most {TOLERANCE:.0e} is rounding. No file is written"
        )


def _inputs(card: Card, *, pixels: bool) -> tuple[Tensor, Tensor]:
    """Return images as the graph takes them, and the same normalised for torch."""
    image_BCHW = _images(card)
    if pixels:
        pixel_BHWC = pixel_input.quantised(image_BCHW)
        return pixel_BHWC, pixel_input.normalised(pixel_BHWC, card)
    mean_C11, std_C11 = (torch.tensor(values)[:, None, None] for values in (card.mean, card.std))
    normalised_BCHW = (image_BCHW - mean_C11) / std_C11
    return normalised_BCHW, normalised_BCHW


def _images(card: Card) -> Tensor:
    """Return plain, ramped, chequered, blurred and noisy images in a mixed order, with values in [0, 1]."""
    channels, height, width = card.input_CHW
    generator = torch.Generator().manual_seed(0)  # leaves the caller's random state unchanged
    down_H1, right_W = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)
    chequered_HW = (torch.arange(height)[:, None] + torch.arange(width)) % 2
    planes = [torch.zeros(1), torch.ones(1), torch.tensor(0.5), down_H1, right_W, down_H1 * right_W, chequered_HW]
    structured = torch.stack([plane.expand(channels, height, width) for plane in planes])
    blurred, noisy = (sum(BATCH_SIZES) - len(planes) + 1) // 2, (sum(BATCH_SIZES) - len(planes)) // 2
    coarse = torch.rand(blurred, channels, 4, 4, generator=generator)
    pixel_BCHW = torch.cat(
        [
            structured,
            nn.functional.interpolate(coarse, (height, width), mode="bilinear"),
            torch.rand(noisy, channels, height, width, generator=generator),
        ]
    )
    return pixel_BCHW[torch.randperm(len(pixel_BCHW), generator=generator)]
