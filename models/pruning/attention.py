"""Self-attention as in timm: one linear layer for queries, keys and values.

A unit is the same channel of every head, in queries, keys and values; the number of heads stays. After a cut, the
module's numbers (head_dim, attn_dim, scale) have to be updated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from torch import nn

from models.pruning.groups import Group, Kind, Member, Place

SIGNATURE = ("attention",)


def groups(net: nn.Module) -> Iterator[Group]:
    """Yield one group for each self-attention in the network."""
    for name, module in _attentions(net):
        heads, size = module.num_heads, module.head_dim
        inner_I = np.arange(heads * size) % size
        kinds: tuple[tuple[str, int, Kind, int], ...] = (
            ("qkv.weight", 0, "weight", 3),
            ("qkv.bias", 0, "bias", 3),
            ("proj.weight", 1, "weight", 1),
        )
        members = tuple(
            Member(f"{name}.{tensor}", dim, kind, np.tile(inner_I, times))
            for tensor, dim, kind, times in kinds
            if tensor != "qkv.bias" or module.qkv.bias is not None
        )
        root = f"{name}.qkv"
        yield Group(root=root, layers=(root,), units=size, members=members, signature=SIGNATURE)


def places(net: nn.Module) -> frozenset[Place]:
    """Return the dimensions that belong to these groups and to no other."""
    return frozenset(member.place for group in groups(net) for member in group.members)


def products(net: nn.Module, positions: Mapping[str, int], lengths: Mapping[str, int]) -> tuple[tuple[Place, int], ...]:
    """Return the MACs of queries times keys and of weights times values, for each attended channel.

    Args:
        net: The network.
        positions: Tokens of one image, in all sequences, by linear layer.
        lengths: Tokens of one sequence, such as a window, likewise.
    """
    layers = [f"{name}.proj" for name, _ in _attentions(net)]
    return tuple(((f"{layer}.weight", 1), 2 * positions[layer] * lengths[layer]) for layer in layers)


def update(net: nn.Module, heads: Mapping[str, int]) -> None:
    """Update the numbers of every attention from its tensors, given its number of heads, by name."""
    for name, count in heads.items():
        module: Any = net.get_submodule(name)
        size = module.proj.in_features // count
        module.head_dim, module.attn_dim, module.scale = size, size * count, size**-0.5


def heads(net: nn.Module) -> dict[str, int]:
    """Return the number of heads of each self-attention, by name; call it before tensors are cut."""
    return {name: module.num_heads for name, module in _attentions(net)}


def _attentions(net: nn.Module) -> Iterator[tuple[str, Any]]:
    for name, module in net.named_modules():
        heads, size, width = (getattr(module, key, None) for key in ("num_heads", "head_dim", "attn_dim"))
        qkv, proj = (getattr(module, key, None) for key in ("qkv", "proj"))
        if not (isinstance(heads, int) and isinstance(size, int) and type(qkv) is type(proj) is nn.Linear):
            continue
        extras = [getattr(module, key, None) for key in ("q_norm", "k_norm", "norm", "gate")]
        plain = not any(isinstance(extra, nn.Module) and list(extra.parameters()) for extra in extras)
        if plain and qkv.out_features == 3 * heads * size and proj.in_features == heads * size == width:
            yield name, module
