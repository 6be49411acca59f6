"""A network that sees each image and its mirror image: test-time augmentation.

Shapes: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from torch import Tensor, nn

from models.networks.ensemble import mean_answer


class Mirrored(nn.Module):
    """The logarithm of the mean of its probabilities of an image and of the mirror image, which are its logits."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """image_BCHW -> logits_BK."""
        return mean_answer([self.net(image_BCHW), self.net(image_BCHW.flip(3))])
