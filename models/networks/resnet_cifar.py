"""ResNets for CIFAR as published, with parameter-free shortcuts (He et al., arXiv:1512.03385, section 4.2, option A).

Shapes: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from configs.errors import UsageError
from models.networks.checks import require_size, require_widths

WIDTHS = (16, 32, 64)
SMALLEST = 4


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


class Block(nn.Module):
    """Two 3x3 convolutions, beside a shortcut without parameters."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.relu = nn.ReLU()
        self.shortcut = nn.Identity() if stride == 1 and before == after else Shortcut(before, after, stride)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """map_BCHW -> map_BCHW, `stride` times smaller."""
        inner_BCHW = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(map_BCHW)))))
        out_BCHW: Tensor = self.relu(inner_BCHW + self.shortcut(map_BCHW))
        return out_BCHW


class CifarResNet(nn.Module):
    """A 3x3 stem, three stages of `blocks` blocks with strides 1, 2 and 4, a mean over pixels, and `linear`."""

    def __init__(self, channels: int, widths: Sequence[int], blocks: int, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU()
        self.layer1 = _stage(widths[0], widths[0], blocks, stride=1)
        self.layer2 = _stage(widths[0], widths[1], blocks, stride=2)
        self.layer3 = _stage(widths[1], widths[2], blocks, stride=2)
        self.linear = nn.Linear(widths[2], num_classes)
        self.apply(_initialise)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """image_BCHW -> logits_BK."""
        map_BCHW = self.relu(self.bn1(self.conv1(image_BCHW)))
        map_BCHW = self.layer3(self.layer2(self.layer1(map_BCHW)))
        # The operator of the published networks; an adaptive pooling sums in another order, and logits differ by 1e-7.
        logits_BK: Tensor = self.linear(F.avg_pool2d(map_BCHW, map_BCHW.shape[2:]).flatten(1))
        return logits_BK


def _stage(before: int, after: int, blocks: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(Block(before, after, stride), *(Block(after, after, 1) for _ in range(blocks - 1)))


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
    if depth < 8 or depth % 6 != 2:
        below = max(8, depth - (depth - 2) % 6)
        raise UsageError(f"resnet_cifar has a depth of 6n + 2, not {depth}; take {below} or {below + 6}")
    widths = require_widths("resnet_cifar", widths, WIDTHS)
    if list(widths) != sorted(widths):
        raise UsageError(f"resnet_cifar's shortcuts can only add channels, so its widths must not shrink: {widths}")
    return CifarResNet(input_CHW[0], widths, (depth - 2) // 6, num_classes)
