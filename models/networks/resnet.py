"""ResNets for small images (He et al., arXiv:1512.03385, section 4.2), with projection shortcuts.

Shapes: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from configs.errors import UsageError
from models.networks.checks import require_size, require_widths

WIDTHS = (16, 32, 64)
SMALLEST = 4
Widen = Callable[[int, int, int], nn.Module]
"""From channels before, channels after and stride to a shortcut."""


class Block(nn.Module):
    """Two 3x3 convolutions; the shortcut is the identity, or what `widen` makes where the shape changes."""

    def __init__(self, before: int, after: int, stride: int, widen: Widen) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.relu = nn.ReLU()
        self.shortcut = nn.Identity() if stride == 1 and before == after else widen(before, after, stride)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """map_BCHW -> map_BCHW, `stride` times smaller."""
        inner_BCHW = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(map_BCHW)))))
        out_BCHW: Tensor = self.relu(inner_BCHW + self.shortcut(map_BCHW))
        return out_BCHW


class Trunk(nn.Module):
    """A 3x3 stem and three stages of `blocks` blocks, with strides 1, 2 and 4."""

    def __init__(self, channels: int, widths: Sequence[int], blocks: int, widen: Widen) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU()
        self.layer1 = _stage(widths[0], widths[0], blocks, 1, widen)
        self.layer2 = _stage(widths[0], widths[1], blocks, 2, widen)
        self.layer3 = _stage(widths[1], widths[2], blocks, 2, widen)

    def features(self, image_BCHW: Tensor) -> Tensor:
        """image_BCHW -> map_BCHW, four times smaller."""
        map_BCHW: Tensor = self.relu(self.bn1(self.conv1(image_BCHW)))
        deep_BCHW: Tensor = self.layer3(self.layer2(self.layer1(map_BCHW)))
        return deep_BCHW


class ResNet(Trunk):
    """With projections where the shape changes, a mean over pixels, and `fc`."""

    def __init__(self, channels: int, widths: Sequence[int], blocks: int, num_classes: int) -> None:
        super().__init__(channels, widths, blocks, _projection)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[2], num_classes)
        self.apply(_initialise)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """image_BCHW -> logits_BK."""
        logits_BK: Tensor = self.fc(self.pool(self.features(image_BCHW)).flatten(1))
        return logits_BK


def _stage(before: int, after: int, blocks: int, stride: int, widen: Widen) -> nn.Sequential:
    return nn.Sequential(
        Block(before, after, stride, widen), *(Block(after, after, 1, widen) for _ in range(blocks - 1))
    )


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
    blocks = blocks_of("resnet_small", depth)
    return ResNet(input_CHW[0], require_widths("resnet_small", widths, WIDTHS), blocks, num_classes)


def blocks_of(name: str, depth: int) -> int:
    """Return the blocks per stage of a network of this depth. UsageError: a depth other than 8, 14, 20, ..."""
    if depth < 8 or depth % 6 != 2:
        below = max(8, depth - (depth - 2) % 6)
        raise UsageError(f"{name} has a depth of 6n + 2, not {depth}; take {below} or {below + 6}")
    return (depth - 2) // 6
