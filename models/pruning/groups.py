"""Groups of channels that are removed together, and the cost of a network as a function of how many are removed.

A group is a set of units. A unit is the least that can be removed: one channel of a layer, the same channel of all
layers whose outputs are added to it, and every weight that reads them; in attention, the same channel of each head.

Axes: U units, I indices along one dimension of a tensor, G groups, B counts (parameters, then MACs).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["weight", "bias", "batch_norm", "layer_norm", "parameter", "statistic"]
Place = tuple[str, int]
"""A dimension of a tensor, by the tensor's name in the state dict."""
Integers = NDArray[np.int64]
KEPT = -1
OUTPUT = "it is the network's output"
IGNORED = "prune.ignored_layers"
"""Reasons that need no mention."""


@dataclass(frozen=True)
class Member:
    """One dimension of one tensor whose indices belong to the units of a group."""

    tensor: str
    dim: int
    kind: Kind
    owner_I: Integers
    """The unit of each index; -1 for an index of no unit of this group."""

    @property
    def place(self) -> Place:
        """The tensor's name and the dimension."""
        return self.tensor, self.dim

    @property
    def per_unit(self) -> int:
        """Number of indices per unit; the same for every unit."""
        return int((self.owner_I == 0).sum())


@dataclass(frozen=True)
class Group:
    """Units that are compared with each other, since they have entries in the same tensors."""

    root: str
    """The first layer whose outputs are units of this group."""
    layers: tuple[str, ...]
    """All layers whose outputs are units of this group."""
    units: int
    members: tuple[Member, ...]
    signature: tuple[str, ...]
    """Equal for groups whose members have the same kinds and dimensions."""
    root_dim: int = 0
    """The dimension of the root's outputs in its weight: 1 for a transposed convolution."""

    def channels(self, units: Sequence[int]) -> tuple[int, ...]:
        """Return the root layer's output channels that belong to these units."""
        return tuple(np.flatnonzero(np.isin(self._outputs, units)).tolist())

    def units_of(self, channels: Sequence[int]) -> tuple[int, ...] | None:
        """Return the units with exactly these output channels of the root layer; None: there are none."""
        if not channels or min(channels) < 0 or max(channels) >= len(self._outputs):
            return None
        units = sorted(set(self._outputs[list(channels)].tolist()))
        return tuple(units) if KEPT not in units and self.channels(units) == tuple(sorted(channels)) else None

    @cached_property
    def _outputs(self) -> Integers:
        return next(member.owner_I for member in self.members if member.place == (f"{self.root}.weight", self.root_dim))


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Cost of a network with k units of each group removed: constant - linear k + k' coupling k / 2.

    This is exact, since no tensor has more than two dimensions with units; all numbers are integers.
    """

    constant_B: Integers
    linear_BG: Integers
    coupling_BGG: Integers

    def count(self, removed_G: Integers) -> Integers:
        """Return parameters and MACs."""
        mixed_B = (self.coupling_BGG @ removed_G) @ removed_G  # even, since coupling is symmetric
        count_B: Integers = self.constant_B - self.linear_BG @ removed_G + mixed_B // 2
        return count_B

    def savings(self, removed_G: Integers, more_G: Integers) -> Integers:
        """Return savings_BG: what removing more_G units of each group, alone, saves in addition."""
        slope_BG = self.linear_BG - self.coupling_BGG @ removed_G
        own_BG = np.diagonal(self.coupling_BGG, axis1=1, axis2=2)
        saved_BG: Integers = slope_BG * more_G - own_BG * more_G**2 // 2
        return saved_BG


@dataclass(frozen=True, kw_only=True)
class Structure:
    """Everything that planning needs of a network, except its weights."""

    input_CHW: tuple[int, int, int]
    classes: int
    groups: tuple[Group, ...]
    """In the order of their root layers."""
    shapes: Mapping[str, tuple[int, ...]]
    """Shapes of all parameters and buffers, by name."""
    parameters: frozenset[str]
    """Names of the parameters; a tied one once."""
    uses: tuple[tuple[Place, int], ...]
    """MACs per entry of a tensor (dimension -1), or per index along one of its dimensions."""
    other_macs: int
    """MACs that `uses` does not explain: known for this network, but not after a cut."""
    transposed: frozenset[str] = frozenset()
    """Layers whose weight has its inputs first."""
    whole: Mapping[str, str] = field(default_factory=dict)
    """Why layers are not cut, by layer, the largest first."""

    @property
    def widths(self) -> dict[str, int]:
        """Output channels by layer, for layers that belong to a group."""
        return {
            layer: self.shapes[f"{layer}.weight"][int(layer in self.transposed)]
            for group in self.groups
            for layer in group.layers
        }

    @property
    def excuse(self) -> str:
        """The largest layers that are not cut and why, as the end of a sentence; empty if all are."""
        shown = [f"{layer} ({why})" for layer, why in self.whole.items() if why not in (OUTPUT, IGNORED)][:3]
        return f"; not cut: {', '.join(shown)}" if shown else ""

    @cached_property
    def prices(self) -> Prices:
        """Cost as a function of removed units."""
        count = len(self.groups)
        constant_B = np.array([0, self.other_macs])
        linear_BG = np.zeros((2, count), dtype=np.int64)
        coupling_BGG = np.zeros((2, count, count), dtype=np.int64)
        for row, coefficient, (size, share_G), (other, other_share_G) in self._terms():
            constant_B[row] += coefficient * size * other
            linear_BG[row] += coefficient * (size * other_share_G + other * share_G)
            mixed_GG = np.outer(share_G, other_share_G)
            coupling_BGG[row] += coefficient * (mixed_GG + mixed_GG.T)
        return Prices(constant_B=constant_B, linear_BG=linear_BG, coupling_BGG=coupling_BGG)

    def _terms(self) -> Iterator[tuple[int, int, tuple[int, Integers], tuple[int, Integers]]]:
        """Yield (which count, coefficient, size and its loss per unit of each group, likewise for a second size)."""
        shares: dict[Place, Integers] = {}
        for index, group in enumerate(self.groups):
            for member in group.members:
                shares.setdefault(member.place, np.zeros(len(self.groups), dtype=np.int64))[index] += member.per_unit
        whole = (1, np.zeros(len(self.groups), dtype=np.int64))
        entries = [(0, (name, -1), 1) for name in self.parameters] + [(1, place, macs) for place, macs in self.uses]
        for row, (name, dim), coefficient in entries:
            shape = self.shapes[name]
            dims = range(len(shape)) if dim < 0 else [dim]
            shared = [(shape[d], shares[name, d]) for d in dims if (name, d) in shares]
            rest = math.prod(shape[d] for d in dims if (name, d) not in shares)
            first, second = [*shared, whole, whole][:2]
            yield row, coefficient * rest, first, second

    def kept(self, removed: Mapping[str, Sequence[int]]) -> dict[Place, Integers]:
        """Return the indices that stay along every dimension that loses some; `removed` are units by root layer."""
        stays: dict[Place, NDArray[np.bool_]] = {}
        for group in self.groups:
            for member in group.members if removed.get(group.root) else ():
                mask_I = ~np.isin(member.owner_I, removed[group.root])
                stays[member.place] = stays.get(member.place, True) & mask_I
        return {place: np.flatnonzero(mask_I) for place, mask_I in stays.items()}

    def after(self, removed: Mapping[str, Sequence[int]]) -> Structure:
        """Return the structure without these units, by root layer, without tracing the network again."""
        kept = self.kept(removed)
        shapes = {
            name: tuple(len(kept[name, dim]) if (name, dim) in kept else size for dim, size in enumerate(shape))
            for name, shape in self.shapes.items()
        }
        groups = tuple(_shrunk(group, removed.get(group.root, ()), kept) for group in self.groups)
        return replace(self, shapes=shapes, groups=groups)


def _shrunk(group: Group, removed: Sequence[int], kept: Mapping[Place, Integers]) -> Group:
    stays_U = np.isin(np.arange(group.units), removed, invert=True)
    # One entry more than units, so that -1, "no unit", stays -1.
    renumbered_U = np.append(np.where(stays_U, np.cumsum(stays_U) - 1, KEPT), KEPT)
    members = []
    for member in group.members:
        owner_I = member.owner_I[kept[member.place]] if member.place in kept else member.owner_I
        members.append(replace(member, owner_I=renumbered_U[owner_I]))
    return replace(group, units=int(stays_U.sum()), members=tuple(members))
