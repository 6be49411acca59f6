"""Atoms: the indices of every dimension of a network's tensors, and which of them can only be removed together.

Each index along each dimension of each parameter and buffer is an atom. A tensor that a forward computes has a label
for each of its dimensions: the atom of every index, or FIXED where its length is none of a parameter, or UNIFORM where
all of its entries are equal, so that its length follows any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Atoms = NDArray[np.int64]


class Bare(Enum):
    """The label of a dimension without atoms."""

    FIXED = 0
    UNIFORM = 1


FIXED, UNIFORM = Bare.FIXED, Bare.UNIFORM
Label = Atoms | Bare
Labels = tuple[Label, ...]
STAYS = 0
"""The atom that is never removed. What is tied to it stays."""
Place = tuple[str, int]


@dataclass(frozen=True, eq=False)
class Sharing:
    """A layer that shares its channels out among groups of equal size, and can lose them in two ways.

    Rows are groups, columns are positions within a group. Either whole groups leave, or the same positions of every
    group.
    """

    layer: str
    inputs: Atoms | None
    """One row per group; None for a layer that reads the image."""
    outputs: Atoms | None
    """One row per group; None for a normalisation, whose inputs are its outputs."""
    positions: Atoms | None
    """Positions within a group along the weight's second dimension, for convolutions."""

    def ties(self, whole: bool) -> Iterator[tuple[Atoms, Atoms]]:
        """Yield pairs of atoms that leave together, for whole groups or for positions."""
        for rows in (self.inputs, self.outputs):
            if rows is not None:
                yield from _tied_rows(rows if whole else rows.T)
        if whole and self.inputs is not None and self.outputs is not None:
            yield self.inputs[:, 0], self.outputs[:, 0]
        if self.positions is not None:
            fixed = whole or self.inputs is None
            yield self.positions, np.full_like(self.positions, STAYS) if fixed else self.inputs[0]  # type: ignore[index]

    @property
    def atoms(self) -> Atoms:
        """The atoms that it shares out."""
        rows = self.inputs if self.outputs is None else self.outputs
        assert rows is not None
        return rows.ravel()


def _tied_rows(rows: Atoms) -> Iterator[tuple[Atoms, Atoms]]:
    yield np.repeat(rows[:, 0], rows.shape[1] - 1), rows[:, 1:].ravel()


@dataclass(eq=False)
class Ledger:
    """All atoms of a network, and what a forward has shown about them."""

    places: list[tuple[Place, int, int]] = field(default_factory=list)
    """Each dimension with its first atom and its length."""
    count: int = 1
    ties: list[tuple[Atoms, Atoms]] = field(default_factory=list)
    stops: list[tuple[Atoms, str]] = field(default_factory=list)
    """Atoms that stay, and the reason."""
    sharings: list[Sharing] = field(default_factory=list)
    whole: dict[int, bool] = field(default_factory=dict)
    """Whether each sharing layer loses whole groups."""

    def register(self, name: str, tensor: Tensor, dims: int) -> Labels:
        """Give new atoms to the first dimensions of a parameter or buffer. A length of 1 is never cut and has none."""
        labels: list[Label] = []
        for dim, length in enumerate(tensor.shape):
            if length == 1 or dim >= dims:
                labels.append(FIXED)
                continue
            self.places.append(((name, dim), self.count, length))
            labels.append(np.arange(self.count, self.count + length))
            self.count += length
        return tuple(labels)

    def tie(self, first: Atoms, second: Atoms) -> None:
        """Note that atoms leave together, pair by pair."""
        if first is not second:
            self.ties.append((first, second))

    def stop(self, label: Label, reason: str) -> None:
        """Note that atoms stay."""
        if isinstance(label, np.ndarray):
            self.stops.append((label, reason))

    def merge(self, labels: Sequence[Label], reason: str) -> Label:
        """Return the label of a dimension of which several tensors have a part, entry by entry."""
        atoms = [label for label in labels if isinstance(label, np.ndarray)]
        if not atoms:
            return FIXED if any(label is FIXED for label in labels) else UNIFORM
        for other in atoms[1:]:
            self.tie(atoms[0], other)
        if any(label is FIXED for label in labels):
            self.stop(atoms[0], reason)
        return atoms[0]

    def components(self) -> Atoms:
        """Return a number for each atom, equal for atoms that leave together and STAYS for those that stay."""
        while True:
            found = self._components()
            flipped = False
            for index, sharing in enumerate(self.sharings):
                units = np.unique(found[sharing.atoms])
                if self.whole.setdefault(index, True) and len(units[units != STAYS]) < 2:
                    self.whole[index], flipped = False, True
            if not flipped:
                return found

    def _components(self, stopped: bool = True) -> Atoms:
        nothing = np.zeros(0, np.int64)
        pairs = [(nothing, nothing), *self.ties]
        for index, sharing in enumerate(self.sharings):
            pairs += sharing.ties(self.whole.get(index, True))
        if stopped:
            pairs += [(atoms, np.full_like(atoms, STAYS)) for atoms, _ in self.stops]
        first, second = (np.concatenate(side) for side in zip(*pairs, strict=True))
        return connected(self.count, first, second)

    def reasons(self) -> dict[int, str]:
        """Return the first reason why each component stays, by its number without any stops."""
        free = self._components(stopped=False)
        found: dict[int, str] = {}
        for atoms, reason in self.stops:
            for number in np.unique(free[atoms]).tolist():
                found.setdefault(number, reason)
        return {atom: found[number] for atom, number in enumerate(free.tolist()) if number in found}


def connected(count: int, first: Atoms, second: Atoms) -> Atoms:
    """Return the least number of the connected component of each of `count` nodes, given edges."""
    root = np.arange(count)
    while True:
        one, other = root[first], root[second]
        open_E = one != other
        if not open_E.any():
            return root
        first, second, one, other = first[open_E], second[open_E], one[open_E], other[open_E]
        np.minimum.at(root, np.maximum(one, other), np.minimum(one, other))
        while True:
            shorter = root[root]
            if np.array_equal(shorter, root):
                break
            root = shorter
