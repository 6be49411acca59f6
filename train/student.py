"""The student module: the network, its tapped layers, and the adapters that compare them with the teacher's.

B samples, C channels, H x W pixels, K classes, L layer pairs.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.taps import Taps
from train.loss.adapters import Adapters


@dataclass(frozen=True, kw_only=True, slots=True)
class Signals:
    """Outputs of a network for a micro-batch."""

    logits_BK: Tensor
    """Before any softmax."""
    features_L: list[Tensor]
    """Outputs of the tapped layers, in the order of the layer pairs; empty if no term needs them. A teacher's are in
    the precision in which it computes."""


class Student(nn.Module):
    """Network and adapters in one module, so that DistributedDataParallel reduces the gradients of both."""

    def __init__(
        self, net: nn.Module, layers: tuple[str, ...], adapters: Adapters | None, *, own_features: bool = True
    ) -> None:
        """own_features: return the outputs of `layers` themselves, too, and not the adapted ones alone.

        Accelerate converts to float32 whatever a forward in half precision returns.
        """
        super().__init__()
        self._own_features = own_features
        self.net = net
        self.adapters = adapters
        self._layers = layers
        self._taps = Taps(net, layers)

    @staticmethod
    def net_parameter(name: str) -> str:
        """Name of a parameter of the network in this module."""
        return f"net.{name}"

    @staticmethod
    def adapter_weight(pair: int) -> str:
        """Name of the weight of a layer pair's adapter in this module."""
        return f"adapters.convolutions.{pair}.weight"

    def forward(self, image_BCHW: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Return logits_BK, features_L, and features_L with the teacher's channels (empty without adapters)."""
        logits_BK = self.net(image_BCHW)
        features = self._taps.take()
        features_L = [features[name] for name in self._layers]
        adapted_L = self.adapters(features_L) if self.adapters is not None else []
        return logits_BK, features_L if self._own_features else [], adapted_L


@torch.no_grad()
def example_features(net: nn.Module, layers: tuple[str, ...], image_BCHW: Tensor) -> list[Tensor]:
    """Return the outputs of `layers` for an example, to fit adapters to. The network itself does not change."""
    copied = copy.deepcopy(net).eval()
    taps = Taps(copied, layers)
    copied(image_BCHW)
    features = taps.take()
    return [features[name] for name in layers]
