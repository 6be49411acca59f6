"""ResNets for CIFAR as published, with parameter-free shortcuts (He et al., arXiv:1512.03385, section 4.2, option A).

Shapes: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from configs.errors import UsageError
from models.networks.checks import require_size, require_widths
from models.networks.resnet import SMALLEST, WIDTHS, Trunk, blocks_of


class Shortcut(nn.Module):
    """The identity; where the shape changes, every `stride`-th pixel, with channels of zeros before and after."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.first = (after - before) // 2
        self.last = after - before - self.first

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """map_BCHW -> map_BCHW with other channels, `stride` times smaller."""
        return F.pad(map_BCHW[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.first, self.last))


class CifarResNet(Trunk):
    """With shortcuts without parameters, a mean over pixels, and `linear`."""

    def __init__(self, channels: int, widths: Sequence[int], blocks: int, num_classes: int) -> None:
        super().__init__(channels, widths, blocks, Shortcut)
        self.linear = nn.Linear(widths[2], num_classes)
        self.apply(_initialise)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """image_BCHW -> logits_BK."""
        map_BCHW = self.features(image_BCHW)
        # The operator of the published networks; an adaptive pooling sums in another order, and logits differ by 1e-7.
        logits_BK: Tensor = self.linear(F.avg_pool2d(map_BCHW, map_BCHW.shape[2:]).flatten(1))
        return logits_BK


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight)


def resnet_cifar(
    *, num_classes: int, input_CHW: tuple[int, int, int], widths: Sequence[int] = WIDTHS, depth: int = 20
) -> CifarResNet:
    """269,722 parameters at depth 20, three channels and 10 classes.

    UsageError: a depth other than 8, 14, 20, ..., not three widths, widths that shrink, or fewer than 4 pixels.
    """
    require_size("resnet_cifar", input_CHW, SMALLEST)
    blocks = blocks_of("resnet_cifar", depth)
    widths = require_widths("resnet_cifar", widths, WIDTHS)
    if list(widths) != sorted(widths):
        raise UsageError(f"resnet_cifar's shortcuts can only add channels, so its widths must not shrink: {widths}")
    return CifarResNet(input_CHW[0], widths, blocks, num_classes)
