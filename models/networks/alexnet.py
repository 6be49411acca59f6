"""AlexNet (Krizhevsky, arXiv:1404.5997, as torchvision has it) with a stem for small images.

Shapes: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from torch import Tensor, nn

from models.networks.checks import require_size

SMALLEST = 13  # one pixel is left after the third pool


class AlexNet(nn.Module):
    """Five convolutions and three dense layers; the first convolution is 3x3, stride 1, padding 2."""

    def __init__(self, channels: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(channels, 64, 3, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2)),
        )
        self.pool = nn.AdaptiveAvgPool2d(6)
        self.classifier = nn.Sequential(
            *(nn.Dropout(dropout), nn.Linear(256 * 6 * 6, 4096), nn.ReLU()),
            *(nn.Dropout(dropout), nn.Linear(4096, 4096), nn.ReLU()),
            nn.Linear(4096, num_classes),
        )

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """image_BCHW -> logits_BK."""
        logits_BK: Tensor = self.classifier(self.pool(self.features(image_BCHW)).flatten(1))
        return logits_BK


def alexnet_small(*, num_classes: int, input_CHW: tuple[int, int, int], dropout: float = 0.5) -> AlexNet:
    """57,023,306 parameters at 3 channels and 10 classes. UsageError: fewer than 13 pixels."""
    require_size("alexnet_small", input_CHW, SMALLEST)
    return AlexNet(input_CHW[0], num_classes, dropout)
