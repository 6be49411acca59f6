"""Network in Network (Lin et al., arXiv:1312.4400): three groups of one wide and two 1x1 convolutions.

Shapes: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from models.networks.checks import require_size, require_widths

WIDTHS = (192, 160, 96, 192, 192, 192, 192, 192)
SMALLEST = 8


class Nin(nn.Module):
    """Nine convolutions, no dense layer. The last one has no ReLU: logits need both signs."""

    def __init__(self, channels: int, widths: Sequence[int], num_classes: int, dropout: float) -> None:
        super().__init__()
        w = widths
        self.layer1 = nn.Sequential(*_conv(channels, w[0], 5), *_conv(w[0], w[1], 1), *_conv(w[1], w[2], 1))
        self.pool1 = nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.Dropout(dropout))
        self.layer2 = nn.Sequential(*_conv(w[2], w[3], 5), *_conv(w[3], w[4], 1), *_conv(w[4], w[5], 1))
        self.pool2 = nn.Sequential(nn.AvgPool2d(3, 2, 1), nn.Dropout(dropout))
        self.layer3 = nn.Sequential(*_conv(w[5], w[6], 3), *_conv(w[6], w[7], 1))
        self.head = nn.Conv2d(w[7], num_classes, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.apply(_initialise)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """image_BCHW -> logits_BK."""
        map_BCHW = self.pool1(self.layer1(image_BCHW))
        map_BCHW = self.pool2(self.layer2(map_BCHW))
        logits_BK: Tensor = self.pool(self.head(self.layer3(map_BCHW))).flatten(1)
        return logits_BK


def _conv(before: int, after: int, kernel: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(before, after, kernel, padding=kernel // 2), nn.ReLU()


def _initialise(module: nn.Module) -> None:
    # PyTorch's default shrinks activations 2.4 times per layer; He's keeps their scale (arXiv:1502.01852).
    if isinstance(module, nn.Conv2d) and module.bias is not None:
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.zeros_(module.bias)


def nin(
    *, num_classes: int, input_CHW: tuple[int, int, int], widths: Sequence[int] = WIDTHS, dropout: float = 0.5
) -> Nin:
    """966,986 parameters at 3 channels and 10 classes. UsageError: fewer than 8 pixels, or not eight widths."""
    require_size("nin", input_CHW, SMALLEST)
    return Nin(input_CHW[0], require_widths("nin", widths, WIDTHS), num_classes, dropout)
