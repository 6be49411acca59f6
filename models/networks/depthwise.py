"""Depthwise-separable students for photographs (Howard et al., MobileNets, arXiv:1704.04861).

Shapes: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from torch import Tensor, nn

from models.networks.checks import SMALL, require_size, require_widths


class Depthwise(nn.Module):
    """Seven unpadded separable blocks, with a pool after the second, fourth, sixth and seventh."""

    WIDTHS = (32, 32, 64, 64, 256, 128, 128)
    POOL_AFTER = (2, 4, 6, 7)
    SMALLEST = 60  # one pixel is left after the last pool

    def __init__(self, channels: int, widths: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(*self._layers((channels, *widths)))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[-1], num_classes)

    def _layers(self, widths: Sequence[int]) -> Iterator[nn.Module]:
        for number, (before, after) in enumerate(pairwise(widths), start=1):
            yield nn.Sequential(
                nn.Conv2d(before, before, 3, groups=before),
                nn.Conv2d(before, after, 1),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            )
            if number in self.POOL_AFTER:
                yield nn.MaxPool2d(2)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """image_BCHW -> logits_BK."""
        logits_BK: Tensor = self.fc(self.pool(self.features(image_BCHW)).flatten(1))
        return logits_BK


class DepthwiseV2(nn.Module):
    """Strided separable stages named like a ResNet's, so that layer1..layer4 of a teacher have counterparts.

    Strides after the stages are 4, 8, 16 and 32; for images up to 64 pixels high 1, 2, 4 and 8, as in a ResNet with a
    stem for small images. Convolutions have no bias: a BatchNorm follows each.
    """

    # 58,755 parameters with 11 classes. The two blocks of layer4 have 40 % of them, so there is no third.
    WIDTHS = (32, 40, 56, 72, 112)
    BLOCKS = (3, 3, 3, 2)
    SMALLEST = 28

    def __init__(self, input_CHW: tuple[int, int, int], widths: Sequence[int], num_classes: int) -> None:
        super().__init__()
        channels, height, _ = input_CHW
        first = 1 if height <= SMALL else 2
        self.stem = nn.Sequential(
            nn.Conv2d(channels, widths[0], 3, stride=first, padding=1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.LeakyReLU(0.01),
        )
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            _stage(before, after, blocks=blocks, stride=stride)
            for before, after, blocks, stride in zip(widths, widths[1:], self.BLOCKS, (first, 2, 2, 2), strict=False)
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[-1], num_classes)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """image_BCHW -> logits_BK."""
        map_BCHW = self.layer2(self.layer1(self.stem(image_BCHW)))
        map_BCHW = self.layer4(self.layer3(map_BCHW))
        logits_BK: Tensor = self.fc(self.pool(map_BCHW).flatten(1))
        return logits_BK


def _stage(before: int, after: int, *, blocks: int, stride: int) -> nn.Sequential:
    rest = (separable(after, after) for _ in range(blocks - 1))
    return nn.Sequential(separable(before, after, stride=stride), *rest)


def separable(before: int, after: int, *, stride: int = 1, padding: int = 1) -> nn.Sequential:
    """Depthwise 3x3, then pointwise 1x1, each with BatchNorm and LeakyReLU (slope 0.01)."""
    return nn.Sequential(
        nn.Conv2d(before, before, 3, stride=stride, padding=padding, groups=before, bias=False),
        nn.BatchNorm2d(before),
        nn.LeakyReLU(0.01),
        nn.Conv2d(before, after, 1, bias=False),
        nn.BatchNorm2d(after),
        nn.LeakyReLU(0.01),
    )


def depthwise(
    *, num_classes: int, input_CHW: tuple[int, int, int], widths: Sequence[int] = Depthwise.WIDTHS
) -> Depthwise:
    """82,121 parameters at 3x224x224 and 11 classes. UsageError: fewer than 60 pixels, or not seven widths."""
    require_size("depthwise", input_CHW, Depthwise.SMALLEST)
    return Depthwise(input_CHW[0], require_widths("depthwise", widths, Depthwise.WIDTHS), num_classes)


def depthwise_v2(
    *, num_classes: int, input_CHW: tuple[int, int, int], widths: Sequence[int] = DepthwiseV2.WIDTHS
) -> DepthwiseV2:
    """At most 60,000 parameters at 3x224x224 and 11 classes. Widths: the stem's, then layer1's to layer4's.

    UsageError: fewer than 28 pixels, or not five widths.
    """
    require_size("depthwise_v2", input_CHW, DepthwiseV2.SMALLEST)
    return DepthwiseV2(input_CHW, require_widths("depthwise_v2", widths, DepthwiseV2.WIDTHS), num_classes)
