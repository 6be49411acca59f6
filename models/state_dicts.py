"""Load tensors from a plain dict into a network; half precision made whole; NaN and infinity refused; a digest."""

from __future__ import annotations

import copy
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from configs.errors import InputError

HALVES = (torch.float16, torch.bfloat16)


def load(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy `tensors` into a module of the same architecture. RuntimeError: a name or a shape differs.

    A state dict also has the versions of its layers, which a plain dict or a safetensors file lacks, and without which
    torchvision's MNASNet does not load. The tensors are assumed to have the module's versions.
    """
    state = OrderedDict(tensors)
    state._metadata = module.state_dict()._metadata  # type: ignore[attr-defined]
    module.load_state_dict(state)


def widened(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors of half precision as float32, which is exact, and others as they are."""
    return {name: tensor.float() if tensor.dtype in HALVES else tensor for name, tensor in tensors.items()}


def require_finite(net: nn.Module, file: str | Path) -> None:
    """InputError, which names the file, if a weight or statistic is NaN or infinite: every answer means nothing."""
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise InputError(f"{file}: {name} has NaN or infinite entries, so its answers mean nothing; train it again")


def digest(net: nn.Module) -> str:
    """Return a SHA-256 of the names, shapes and values of a network, which does not change as it is saved and loaded.

    Floating-point values count as float32, and -0 as 0: so does the file of a network.
    """
    found = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        value = tensor.detach().cpu()
        value = (value.float() + 0.0 if value.is_floating_point() else value).contiguous()
        found.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        found.update(value.numpy().data)
    return found.hexdigest()


def ready(net: nn.Module) -> nn.Module:
    """Return a copy for export: on the CPU, contiguous, in evaluation mode; half precision becomes float32."""
    twin: nn.Module = copy.deepcopy(net).to("cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    return twin.float() if any(tensor.dtype in HALVES for tensor in twin.state_dict().values()) else twin
