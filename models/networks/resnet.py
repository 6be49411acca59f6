"""ResNets for small images (He et al., arXiv:1512.03385, section 4.2), with projection shortcuts.

Shapes: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from configs.errors import UsageError
from models.networks.checks import require_size, require_widths

WIDTHS = (16, 32, 64)
SMALLEST = 4


class Block(nn.Module):
    """Two 3x3 convolutions; the shortcut is the identity, or a 1x1 convolution where the shape changes."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.relu = nn.ReLU()
        self.shortcut = nn.Identity() if stride == 1 and before == after else _projection(before, after, stride)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """map_BCHW -> map_BCHW, `stride` times smaller."""
        inner_BCHW = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(map_BCHW)))))
        out_BCHW: Tensor = self.relu(inner_BCHW + self.shortcut(map_BCHW))
        return out_BCHW


class ResNet(nn.Module):
    """A 3x3 stem and three stages of `blocks` blocks, with strides 1, 2 and 4."""

    def __init__(self, channels: int, widths: Sequence[int], blocks: int, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU()
        self.layer1 = _stage(widths[0], widths[0], blocks, stride=1)
        self.layer2 = _stage(widths[0], widths[1], blocks, stride=2)
        self.layer3 = _stage(widths[1], widths[2], blocks, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[2], num_classes)
        self.apply(_initialise)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """image_BCHW -> logits_BK."""
        map_BCHW = self.relu(self.bn1(self.conv1(image_BCHW)))
        map_BCHW = self.layer3(self.layer2(self.layer1(map_BCHW)))
        logits_BK: Tensor = self.fc(self.pool(map_BCHW).flatten(1))
        return logits_BK


def _stage(before: int, after: int, blocks: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(Block(before, after, stride), *(Block(after, after, 1) for _ in range(blocks - 1)))


def _projection(before: int, after: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def resnet_small(
    *, num_classes: int, input_CHW: tuple[int, int, int], widths: Sequence[int] = WIDTHS, depth: int = 20
) -> ResNet:
    """272,186 parameters at depth 20, one channel and 10 classes; 99,603 with widths 9, 19, 39.

    UsageError: a depth other than 8, 14, 20, ..., not three widths, or fewer than 4 pixels.
    """
    require_size("resnet_small", input_CHW, SMALLEST)
    if depth < 8 or depth % 6 != 2:
        below = max(8, depth - (depth - 2) % 6)
        raise UsageError(f"resnet_small has a depth of 6n + 2, not {depth}; take {below} or {below + 6}")
    return ResNet(input_CHW[0], require_widths("resnet_small", widths, WIDTHS), (depth - 2) // 6, num_classes)
