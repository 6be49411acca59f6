"""From atoms that leave together to groups of units: the smallest parts of a network that can be removed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from models.pruning import carve
from models.pruning.flow.labels import STAYS, Atoms, Ledger
from models.pruning.groups import KEPT, Group, Kind, Member, Place

LAYERS = nn.modules.conv._ConvNd | nn.Linear
"""Layers whose outputs can be units."""
NORMS = nn.modules.batchnorm._NormBase | nn.LayerNorm | nn.GroupNorm | nn.RMSNorm
TRANSPOSED = nn.modules.conv._ConvTransposeNd


def groups(net: nn.Module, ledger: Ledger, component: Atoms, barred: Mapping[str, str]) -> list[Group]:
    """Return all groups of a network.

    Args:
        net: The network.
        ledger: The ledger; it is told why channels that form no group stay.
        component: The component of each atom.
        barred: Tensors that must not be cut, and why.
    """
    barred = _unknown(net) | dict(barred)
    names_of = _Names.of(net)
    found: list[Group] = []
    taken: set[str] = set()
    for places, units in sorted(_profiles(ledger, component).items(), key=lambda item: item[1][0]):
        names = [ledger.places[index][0][0] for index, _ in places]
        why = next((barred[name] for name in names if name in barred), "")
        if not why and len(units) < 2:
            why = "all of its channels would leave together"
        group = (
            None if why else _group(net, _members(names_of, ledger, component, [i for i, _ in places], units), taken)
        )
        if group is None:
            ledger.stop(np.flatnonzero(np.isin(component, units)), why or "it has no layer of its own")
        else:
            found.append(group)
            taken.add(group.root)
    return found


@dataclass(frozen=True, slots=True)
class _Names:
    """What all groups of a network ask of its tensors; finding it takes long in a network of many layers."""

    kinds: Mapping[str, Kind | None]
    aliases: Mapping[str, Sequence[str]]
    order: Mapping[str, int]

    @classmethod
    def of(cls, net: nn.Module) -> _Names:
        order = {name: place for place, (name, _) in enumerate(carve.tensors(net))}
        return cls(_kinds(net), _aliases(net), order)


def _members(
    names: _Names, ledger: Ledger, component: Atoms, places: Sequence[int], units: Sequence[int]
) -> list[Member]:
    """Return the members of a group, under every name of their tensors."""
    members = []
    for index in places:
        (name, dim), start, length = ledger.places[index]
        component_I = component[start : start + length]
        owner_I = np.minimum(np.searchsorted(units, component_I), len(units) - 1)
        owner_I = np.where(np.asarray(units)[owner_I] == component_I, owner_I, KEPT)
        kind = names.kinds[name]
        assert kind is not None, f"{name} is barred"
        members += [Member(alias, dim, kind, owner_I) for alias in names.aliases[name]]
    return sorted(members, key=lambda member: (names.order[member.tensor], member.dim))


def _aliases(net: nn.Module) -> dict[str, list[str]]:
    """Return all names of each tensor: a module that is used twice has two."""
    names: dict[int, list[str]] = {}
    tensors = carve.tensors(net)
    for name, tensor in tensors:
        names.setdefault(id(tensor), []).append(name)
    return {name: names[id(tensor)] for name, tensor in tensors}


def _unknown(net: nn.Module) -> dict[str, str]:
    """Return the tensors of layers that cannot be cut, and why."""
    found = {}
    for name, kind in _kinds(net).items():
        if kind is None:
            path = name.rpartition(".")[0]
            layer = type(net.get_submodule(path)).__name__
            found[name] = f"{path} ({layer}) is not cut"
    return found


def _profiles(ledger: Ledger, component: Atoms) -> dict[tuple[tuple[int, int], ...], list[int]]:
    """Return the components by the places in which they have atoms, and how many in each."""
    place = np.zeros(ledger.count, np.int64)
    for index, (_, start, length) in enumerate(ledger.places):
        place[start : start + length] = index
    free = np.flatnonzero(component != STAYS)
    if not len(free):
        return {}
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
    if name != "weight":
        # The weight is computed from it, as old weight_norm does; beside a weight it is such as a gain per channel.
        return "parameter" if "weight" in layer._parameters else None
    if isinstance(layer, nn.PReLU):
        return "parameter"
    if isinstance(layer, nn.modules.batchnorm._NormBase):
        return "batch_norm"
    return "layer_norm" if isinstance(layer, NORMS) else "weight"


def follows(layer: nn.Module) -> bool:
    """Whether a layer's own tensors only follow the channels of others."""
    return isinstance(layer, NORMS | nn.PReLU) or not type(layer).__module__.startswith("torch.nn")
