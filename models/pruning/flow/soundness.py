"""Test cuts: a cut is sound if the network that it leaves runs, and links its channels as was predicted.

A forward with lengths in its code fails, or mixes other channels than before, when they change.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor, nn

from configs.errors import InputError
from models.probe import twin
from models.pruning import carve
from models.pruning.flow.labels import STAYS, Atoms, Ledger
from models.pruning.flow.run import Flow, follow
from models.pruning.groups import Group, Integers, Place, Structure
from models.pruning.search import FEWEST


@dataclass(frozen=True)
class Trial:
    """Test cuts of one network."""

    net: nn.Module
    """A twin, which is not changed."""
    image_BCHW: Tensor
    structure: Structure
    ledger: Ledger
    component: Atoms

    def sound(self, roots: Collection[str] | None = None) -> Structure:
        """Return the structure without the groups that cannot be cut soundly; only those of these roots are tried."""
        tried = [group for group in self.structure.groups if roots is None or group.root in roots]
        active = list(tried)
        while active:
            blamed = self._blamed(active)
            if blamed is None:
                break
            culprits = self._culprits([group for group in active if group.root in blamed] or active)
            kinds = {_kind(group) for group in culprits}
            culprits += self._mates([g for g in active if _kind(g) in kinds and g not in culprits])
            active = [group for group in active if group not in culprits]
        stay = [group for group in self.structure.groups if group in active or group not in tried]
        return replace(self.structure, groups=tuple(stay))

    def _mates(self, groups: Sequence[Group]) -> list[Group]:
        """Return the culprits among groups of the kind of a culprit: all of them if the first and the last are."""
        if len(groups) > 2 and all(self._blamed([group]) is not None for group in (groups[0], groups[-1])):
            return list(groups)
        return self._culprits(groups)

    def _culprits(self, groups: Sequence[Group]) -> list[Group]:
        """Return the groups that cannot be cut, by halving."""
        if not groups or self._blamed(groups) is None:
            return []
        if len(groups) == 1:
            return list(groups)
        half = len(groups) // 2
        found = self._culprits(groups[:half]) + self._culprits(groups[half:])
        return found or list(groups)

    def _blamed(self, groups: Sequence[Group]) -> frozenset[str] | None:
        """Cut these groups by different numbers of units; None if that is sound, or else the groups at fault."""
        removed = {group.root: _some(group, index) for index, group in enumerate(groups) if group.units > FEWEST}
        every = frozenset(removed)
        if not removed:
            return None
        kept = self.structure.kept(removed)
        net = twin(self.net, self.image_BCHW.device.type)
        try:
            carve.carve(net, kept)
        except InputError:
            return every
        flow = follow(net, self.image_BCHW, carve.tensors(net))
        flow.ledger.whole = dict(self.ledger.whole)
        origin = self._origin(flow.ledger, kept)
        owner = self._owner(groups)
        if flow.error is not None:
            return self._at_fault(flow, origin, owner, groups) & every or every
        if not isinstance(flow.output, Tensor) or flow.output.shape[1:] != (self.structure.classes,):
            return every
        return self._differing(flow, origin, owner, groups)

    def _at_fault(self, flow: Flow, origin: Atoms, owner: Atoms, groups: Sequence[Group]) -> frozenset[str]:
        """Return the groups that the failing operation took, or else those of the innermost layer that has some."""
        labels = [label for labels in flow.blamed for label in labels if isinstance(label, np.ndarray)]
        indices = {int(i) for label in labels for i in np.unique(owner[origin[label]])} - {-1}
        found = frozenset(groups[i].root for i in indices)
        path = flow.failed_in
        while path and not found:
            inside = tuple(f"{path}.{key}" for key, _ in carve.tensors(self.net.get_submodule(path)))
            found = frozenset(group.root for group in groups if any(m.tensor in inside for m in group.members))
            path = path.rpartition(".")[0]
        return found

    def _differing(self, flow: Flow, origin: Atoms, owner: Atoms, groups: Sequence[Group]) -> frozenset[str] | None:
        """Return the groups whose atoms leave together with others than before; None if there are none."""
        before, after = self.component[origin[1:]], flow.ledger.components()[1:]
        mine = owner[origin[1:]]
        pairs = np.unique(np.stack([before, after]), axis=1)
        several = [numbers[counts > 1] for row in pairs for numbers, counts in [np.unique(row, return_counts=True)]]
        wrong = np.isin(before, several[0]) | np.isin(after, several[1]) | (after == STAYS)
        found = frozenset(groups[i].root for i in np.unique(mine[wrong & (mine >= 0)]))
        return found or None

    def _origin(self, ledger: Ledger, kept: dict[Place, Integers]) -> Atoms:
        """Return the atom of the whole network for each atom of the cut one."""
        starts = {place: (start, length) for place, start, length in self.ledger.places}
        origin = np.full(ledger.count, STAYS)
        for place, start, length in ledger.places:
            begin, before = starts[place]
            origin[start : start + length] = begin + kept.get(place, np.arange(before))
        return origin

    def _owner(self, groups: Sequence[Group]) -> Atoms:
        """Return the index of the group of each atom; -1 for none."""
        starts = {place: start for place, start, _ in self.ledger.places}
        owner = np.full(self.ledger.count, -1)
        for index, group in enumerate(groups):
            for member in group.members:
                if member.place not in starts:
                    continue  # another name of a tensor that is used twice
                owner[starts[member.place] + np.flatnonzero(member.owner_I >= 0)] = index
        return owner


def _some(group: Group, index: int) -> tuple[int, ...]:
    """Return some units to remove: other numbers of them from neighbouring groups, and not only the first ones."""
    count = min(1 + index % 3, group.units - FEWEST)
    return tuple(sorted({(unit * 5 + index) % group.units for unit in range(count)}))


def _kind(group: Group) -> tuple[str, tuple[str, ...]]:
    return re.sub(r"\d+", "", group.root), group.signature
