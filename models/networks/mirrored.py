"""A network that sees each image and its mirror image: test-time augmentation.

Shapes: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Mirrored(nn.Module):
    """The logarithm of the mean of its probabilities of an image and of the mirror image, which are its logits."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """image_BCHW -> logits_BK."""
        log_BK, mirrored_BK = (self.net(image).log_softmax(dim=1) for image in (image_BCHW, image_BCHW.flip(3)))
        return torch.logaddexp(log_BK, mirrored_BK) - math.log(2)
