"""Load tensors from a plain dict into a network."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor, nn


def load(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy `tensors` into a module of the same architecture. RuntimeError: a name or a shape differs.

    A state dict also has the versions of its layers, which a plain dict or a safetensors file lacks, and without which
    torchvision's MNASNet does not load. The tensors are assumed to have the module's versions.
    """
    state = OrderedDict(tensors)
    state._metadata = module.state_dict()._metadata  # type: ignore[attr-defined]
    module.load_state_dict(state)
