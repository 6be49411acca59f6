"""Cost of a network: parameters, non-zero parameters, multiply-accumulates, bytes."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass

import torch
import torchinfo
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import prune
from torch.utils.flop_counter import FlopCounterMode

from models.probe import probe
from models.pruning.masks import prunable


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Four counts that are easily confused, so always reported together."""

    parameters: int
    """Entries of all parameters, zero or not."""
    nonzero: int
    """Entries of the parameters that are not zero."""
    macs: int
    """Multiply-accumulates of convolutions and matrix products, for one image."""
    bytes: int
    """Parameters and buffers in the state dict."""


def measure(module: nn.Module, input_CHW: tuple[int, int, int]) -> Cost:
    """Count the cost for one image of shape `input_CHW`, on any device; the module is not changed.

    InputError: the module does not take such an image, or its MACs cannot be counted.
    """
    parameters = list(module.parameters())
    state = module.state_dict()
    return Cost(
        parameters=sum(parameter.numel() for parameter in parameters),
        nonzero=sum(int(parameter.detach().count_nonzero()) for parameter in parameters),
        macs=macs(module, input_CHW),
        bytes=sum(tensor.numel() * tensor.element_size() for tensor in state.values()),
    )


def macs(module: nn.Module, input_CHW: tuple[int, int, int]) -> int:
    """Count the multiply-accumulates for one image, on any device, meta included. InputError as for `measure`."""

    def count(twin: nn.Module, image_BCHW: Tensor) -> int:
        # The math kernel of attention consists of matrix products; fused kernels are not counted on every device.
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
            twin(image_BCHW)
        return int(counter.get_total_flops()) // 2

    return probe(module, input_CHW, count, purpose="its MACs cannot be counted")


def masked(module: nn.Module) -> nn.Module | None:
    """Return a copy whose zero weights are masks of torch.nn.utils.prune, which torchinfo leaves out; None without any.

    Only weights of convolutions and linear layers are masked; each other entry counts, zero or not.
    """
    if all(bool(weight.detach().all()) for weight in prunable(module).values()):
        return None
    copied = copy.deepcopy(module)
    weights = {id(weight) for weight in prunable(copied).values()}
    for layer in list(copied.modules()):
        if id(layer._parameters.get("weight")) in weights:
            mask = layer.get_parameter("weight").detach() != 0
            prune.custom_from_mask(layer, "weight", mask)  # type: ignore[no-untyped-call]
    return copied


def table(module: nn.Module, input_CHW: tuple[int, int, int]) -> str:
    """Return torchinfo's layer table for one image. Its mult-adds include biases and BatchNorm; ours do not."""
    text = str(torchinfo.summary(module, input_size=(1, *input_CHW), depth=4, verbose=0, device="cpu"))
    return re.sub(r"Units\.(\w)\w*", r"\1", text)  # torchinfo 1.8 prints its enum's name since Python 3.11
