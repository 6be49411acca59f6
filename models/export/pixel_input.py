"""Normalisation inside a network: uint8 pixels as decoders give them, in place of normalised float32.

Shapes: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.artefact import Card


class PixelInput(nn.Module):
    """pixel_BHWC, uint8 from 0 to 255 -> logits_BK."""

    def __init__(self, net: nn.Module, card: Card) -> None:
        super().__init__()
        self.net = net
        mean_C, std_C = (torch.tensor(values, dtype=torch.float64) for values in (card.mean, card.std))
        self.scale_C11 = nn.Buffer((1 / (255 * std_C)).float()[:, None, None])
        self.shift_C11 = nn.Buffer((-mean_C / std_C).float()[:, None, None])

    def forward(self, pixel_BHWC: Tensor) -> Tensor:
        """Normalise, and give the logits."""
        image_BCHW = pixel_BHWC.permute(0, 3, 1, 2).float()
        logits_BK: Tensor = self.net(image_BCHW * self.scale_C11 + self.shift_C11)
        return logits_BK


def normalised(pixel_BHWC: Tensor, card: Card) -> Tensor:
    """Return what a network without PixelInput takes for these pixels: float32 image_BCHW."""
    mean_C, std_C = (torch.tensor(values, dtype=torch.float64) for values in (card.mean, card.std))
    image_BHWC = (pixel_BHWC.double() / 255 - mean_C) / std_C
    return image_BHWC.permute(0, 3, 1, 2).float().contiguous()


def quantised(image_BCHW: Tensor) -> Tensor:
    """Return images of floats in [0, 1] as uint8 pixel_BHWC."""
    levels_BCHW = (255 * image_BCHW.clamp(0, 1)).round().to(torch.uint8)
    return levels_BCHW.permute(0, 2, 3, 1).contiguous()
