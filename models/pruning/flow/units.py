"""From atoms that leave together to groups of units: the smallest parts of a network that can be removed."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from torch import nn

from models.pruning import carve
from models.pruning.flow.labels import STAYS, Atoms, Ledger
from models.pruning.groups import KEPT, Group, Kind, Member, Place

LAYERS = nn.modules.conv._ConvNd | nn.Linear
"""Layers whose outputs can be units."""
NORMS = nn.modules.batchnorm._NormBase | nn.LayerNorm | nn.GroupNorm | nn.RMSNorm
TRANSPOSED = nn.modules.conv._ConvTransposeNd


def groups(net: nn.Module, ledger: Ledger, component: Atoms, barred: Collection[str]) -> list[Group]:
    """Return all groups of a network, without those that touch a barred tensor."""
    kinds = _kinds(net)
    order = {name: place for place, (name, _) in enumerate(carve.tensors(net))}
    profiles = _profiles(ledger, component)
    found: list[Group] = []
    taken: set[str] = set()
    for places, units in sorted(profiles.items(), key=lambda item: item[1][0]):
        names = [ledger.places[index][0][0] for index, _ in places]
        if len(units) < 2 or any(name in barred or kinds.get(name) is None for name in names):
            continue
        members = []
        for index, _ in places:
            (name, dim), start, length = ledger.places[index]
            owner_I = np.searchsorted(units, component[start : start + length])
            owner_I[owner_I == len(units)] = 0
            owner_I = np.where(np.asarray(units)[owner_I] == component[start : start + length], owner_I, KEPT)
            members.append(Member(name, dim, kinds[name], owner_I))  # type: ignore[arg-type]
        members.sort(key=lambda member: (order[member.tensor], member.dim))
        group = _group(net, members, taken)
        if group is not None:
            found.append(group)
            taken.add(group.root)
    return found


def _profiles(ledger: Ledger, component: Atoms) -> dict[tuple[tuple[int, int], ...], list[int]]:
    """Return the components by the places in which they have atoms, and how many in each."""
    place = np.zeros(ledger.count, np.int64)
    for index, (_, start, length) in enumerate(ledger.places):
        place[start : start + length] = index
    free = np.flatnonzero(component != STAYS)
    pairs, counts = np.unique(np.stack([component[free], place[free]]), axis=1, return_counts=True)
    numbers, first = np.unique(pairs[0], return_index=True)
    ends = [*first[1:].tolist(), pairs.shape[1]]
    found: dict[tuple[tuple[int, int], ...], list[int]] = {}
    for number, begin, end in zip(numbers.tolist(), first.tolist(), ends, strict=True):
        key = tuple(zip(pairs[1, begin:end].tolist(), counts[begin:end].tolist(), strict=True))
        found.setdefault(key, []).append(number)
    return found


def _group(net: nn.Module, members: list[Member], taken: Collection[str]) -> Group | None:
    """Return the group; None if it has no layer of its own that could name it."""
    outputs = [member for member in members if member.place == _output(net, member.tensor)]
    free = [member for member in outputs if member.tensor.removesuffix(".weight") not in taken]
    if not free:
        return None
    root = min(free, key=lambda member: (bool((member.owner_I == KEPT).any()), member.per_unit > 1))
    # Units are numbered in the order of the root's channels.
    owned = root.owner_I[root.owner_I != KEPT]
    _, first = np.unique(owned, return_index=True)
    rank_U = np.append(np.argsort(np.argsort(first)), KEPT)
    ndims = [carve.tensor(net, member.tensor).dim() for member in members]
    return Group(
        root=root.tensor.removesuffix(".weight"),
        layers=tuple(member.tensor.removesuffix(".weight") for member in outputs),
        units=len(first),
        members=tuple(Member(m.tensor, m.dim, m.kind, rank_U[m.owner_I]) for m in members),
        signature=tuple(
            f"{m.kind} {m.dim} {ndim}" for m, ndim in zip(members, ndims, strict=True) if m.kind != "statistic"
        ),
        root_dim=root.dim,
    )


def _output(net: nn.Module, tensor: str) -> Place | None:
    """Return the dimension of outputs if this is the weight of a convolution or a linear layer."""
    path, _, attribute = tensor.rpartition(".")
    layer = net.get_submodule(path)
    if attribute != "weight" or not isinstance(layer, LAYERS):
        return None
    return tensor, int(isinstance(layer, TRANSPOSED))


def _kinds(net: nn.Module) -> Mapping[str, Kind | None]:
    """Return what each tensor is to an importance; None for tensors of layers that cannot be cut."""
    found: dict[str, Kind | None] = {}
    for path, layer in net.named_modules():
        for name in [*layer._parameters, *layer._buffers]:
            found[f"{path}.{name}" if path else name] = _kind(layer, name)
    return found


def _kind(layer: nn.Module, name: str) -> Kind | None:
    if name in layer._buffers:
        return "statistic"
    known = LAYERS | NORMS | nn.PReLU
    if not isinstance(layer, known):
        return None if type(layer).__module__.startswith("torch.nn") else "parameter"
    if name == "bias":
        return "bias"
    if name != "weight" or isinstance(layer, nn.PReLU):
        return "parameter"
    if isinstance(layer, nn.modules.batchnorm._NormBase):
        return "batch_norm"
    return "layer_norm" if isinstance(layer, NORMS) else "weight"
