"""Remove entries of a network's tensors, in place. Which entries belong together is decided elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from models import rebuild
from models.pruning import attention
from models.pruning.groups import Integers, Place


def carve(net: nn.Module, kept: Mapping[Place, Integers]) -> None:
    """Keep these indices along these dimensions, of weights, statistics and gradients; update the layers' numbers.

    Every tensor that changes is a new object. InputError: the remaining shapes contradict each other.
    """
    old = dict(tensors(net))
    touched = {name for name, _ in kept}
    shapes = {name: tuple(select(name, old[name], kept).shape) for name in touched}
    heads = attention.heads(net)
    for layer, attribute, count in _shared(net, kept):
        setattr(layer, attribute, count)
    rebuild.reshape(net, shapes)
    attention.update(net, heads)
    with torch.no_grad():
        for name in touched:
            new = tensor(net, name)
            new.copy_(select(name, old[name], kept))
            gradient = old[name].grad
            if gradient is not None:
                new.grad = select(name, gradient, kept).clone()
    for layer in net.modules():
        if isinstance(layer, nn.PReLU):
            layer.num_parameters = len(layer.weight)


def _shared(net: nn.Module, kept: Mapping[Place, Integers]) -> list[tuple[nn.Module, str, int]]:
    """Return the layers that lose whole groups of channels: the layer, its attribute and the groups that stay."""
    found = []
    for name, layer in net.named_modules():
        attribute = "num_groups" if isinstance(layer, nn.GroupNorm) else "groups"
        count, stays_I = getattr(layer, attribute, 1), kept.get((f"{name}.weight", 0))
        if stays_I is None or count in (1, getattr(layer, "in_channels", 1)):
            continue  # a depthwise convolution follows its channels anyway
        size = len(layer.weight) // count
        per_group = np.bincount(stays_I // size, minlength=count)
        if len(set(per_group.tolist())) > 1:
            found.append((layer, attribute, int((per_group > 0).sum())))
    return found


def select(name: str, value: Tensor, kept: Mapping[Place, Integers]) -> Tensor:
    """Return the entries that stay, of a tensor with the shape of `name` before the cut."""
    value = value.detach()
    for dim in range(value.dim()):
        if (name, dim) in kept:
            value = value.index_select(dim, torch.from_numpy(kept[name, dim]).to(value.device))
    return value


def tensors(net: nn.Module) -> list[tuple[str, Tensor]]:
    """Return parameters, then buffers, with all names of shared ones."""
    return [*net.named_parameters(remove_duplicate=False), *net.named_buffers(remove_duplicate=False)]


def tensor(net: nn.Module, name: str) -> Tensor:
    """Return a parameter or buffer by its name."""
    path, _, attribute = name.rpartition(".")
    found: Tensor = getattr(net.get_submodule(path), attribute)
    return found
