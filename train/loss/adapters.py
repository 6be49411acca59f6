"""1 x 1 convolutions from a student's channels to its teacher's: trained with the student, discarded afterwards."""

# B batch, C channels, H W height and width

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from configs.errors import InputError, UsageError
from train.loss.losses import as_map


class Adapters(nn.Module):
    """One bias-free 1 x 1 convolution per pair of layers, from the student's channels to the teacher's.

    The regressor of FitNets (Romero et al. 2015, arXiv 1412.6550, equation 3) in its smallest form. Its weights belong
    to the optimizer, never to the artefact.

    Args:
        channels: (student's, teacher's) channels of each pair.
    """

    def __init__(self, channels: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        if not channels:
            raise UsageError("there are no layers to adapt; name at least one pair, or leave the hint loss out")
        self.convolutions = nn.ModuleList(nn.Conv2d(s, t, kernel_size=1, bias=False) for s, t in channels)

    @classmethod
    def fitting(cls, student_features: Sequence[Tensor], teacher_features: Sequence[Tensor]) -> Adapters:
        """Adapters for these example features (BCHW or BC), on the student's device.

        Initialised on the CPU by torch's generator: the caller's seed gives the same weights on any device.

        Raises:
            UsageError: numbers of layers differ, there are none, or a feature is neither BCHW nor BC.
        """
        if len(student_features) != len(teacher_features):
            raise UsageError(
                f"{len(student_features)} student layers cannot be paired with {len(teacher_features)} teacher layers; "
                "name as many of one as of the other"
            )
        pairs = zip(student_features, teacher_features, strict=True)
        adapters = cls([(as_map(student).shape[1], as_map(teacher).shape[1]) for student, teacher in pairs])
        return adapters.to(student_features[0].device)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The student's features with the teacher's channels, as BCHW, in the same order.

        Raises:
            InputError: features are not those that the adapters were fitted to.
        """
        if len(features) != len(self.convolutions):
            raise InputError(f"there are {len(self.convolutions)} adapters for {len(features)} student layers")
        return [
            _adapted(layer, convolution, as_map(feature))
            for layer, (convolution, feature) in enumerate(zip(self.convolutions, features, strict=True))
        ]


def _adapted(layer: int, convolution: nn.Module, feature_BCHW: Tensor) -> Tensor:
    assert isinstance(convolution, nn.Conv2d)
    if feature_BCHW.shape[1] != convolution.in_channels:
        raise InputError(
            f"student layer {layer} has {feature_BCHW.shape[1]} channels, its adapter was fitted to "
            f"{convolution.in_channels}; fit new adapters after the student was cut"
        )
    # Hooks see half precision under autocast, which converts float32 weights to it; the convolution itself does not.
    kind, half = convolution.weight.dtype, feature_BCHW.dtype in (torch.float16, torch.bfloat16)
    converted = half and kind == torch.float32 and torch.is_autocast_enabled(feature_BCHW.device.type)
    adapted: Tensor = convolution(feature_BCHW if converted else feature_BCHW.to(kind))
    return adapted
