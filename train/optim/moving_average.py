"""The moving average of a network's weights, which is evaluated and saved in their place."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn


class MovingAverage:
    """Exponential moving average of the parameters and the buffers of a network (Polyak & Juditsky 1992).

    The decay rises with the steps, 1 - step^(-2/3), up to the one that was asked for: an average of few steps would
    hold mostly the first weights. Integers, such as counts of batches, are copied. Nothing is read on the host:
    torch's AveragedModel has its count as a tensor on the device, and the host would wait for it in each step.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.module = deepcopy(net).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """Add the weights after optimizer step number `step`, counted from 1; the first ones are copied."""
        pairs = list(zip(_tensors(self.module), _tensors(net), strict=True))
        averaged = [average for average, _ in pairs if average.is_floating_point()]
        newest = [new for average, new in pairs if average.is_floating_point()]
        torch._foreach_lerp_(averaged, newest, weight=1.0 - min(1.0 - max(step, 1) ** (-2 / 3), self.decay))
        for average, new in pairs:
            if not average.is_floating_point():
                average.copy_(new)


def _tensors(net: nn.Module) -> list[Tensor]:
    """Return what the network's state dict holds; a tensor that it holds under several names comes once."""
    found = net.state_dict(keep_vars=True).values()
    return list({id(tensor): tensor for tensor in found}.values())
