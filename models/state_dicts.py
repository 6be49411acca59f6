"""Put tensors that were kept by name alone, in a file or a plain dict, back into a network."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor, nn


def load(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy `tensors` into a module of the same architecture. RuntimeError: a name or a shape differs.

    A state dict also carries the versions of its layers, which neither a plain dict nor a safetensors file keeps, and
    without which torchvision's MNASNet refuses to load. The tensors are taken for ones of the module's own versions.
    """
    state = OrderedDict(tensors)
    state._metadata = module.state_dict()._metadata  # type: ignore[attr-defined]
    module.load_state_dict(state)
