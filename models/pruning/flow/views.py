"""Labels of tensors whose entries are moved, not changed: views, slices, concatenations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from models.pruning.flow.labels import FIXED, STAYS, UNIFORM, Atoms, Bare, Label, Labels, Ledger

Shape = Sequence[int]


def reshaped(ledger: Ledger, labels: Labels, before: Shape, after: Shape, where: str) -> Labels:
    """Return the labels after a reshape.

    Where a dimension is split, such as channels into groups, the last part keeps its atoms, so that each group loses
    the same positions, unless the atoms show that it was composed in another way.
    """
    found: list[Label] = [FIXED] * len(after)
    for old, new in _blocks(before, after):
        inside = [labels[dim] for dim in old]
        if all(label is UNIFORM for label in inside):
            parts: Sequence[Label] = [UNIFORM] * len(new)
        elif len(old) == len(new) == 1:
            parts = inside
        else:
            flat = _flattened(ledger, inside, [before[dim] for dim in old], where)
            parts = [FIXED] * len(new) if flat is None else _split(ledger, flat, [after[dim] for dim in new])
        for dim, label in zip(new, parts, strict=True):
            found[dim] = label
    return tuple(found)


def _blocks(before: Shape, after: Shape) -> Iterator[tuple[list[int], list[int]]]:
    """Yield the smallest runs of dimensions with the same number of entries; dimensions of length 1 are left out."""
    old = [dim for dim, length in enumerate(before) if length != 1]
    new = [dim for dim, length in enumerate(after) if length != 1]
    while old and new:
        left, right = [old.pop(0)], [new.pop(0)]
        while (one := math.prod(before[d] for d in left)) != (other := math.prod(after[d] for d in right)):
            if one < other:
                left.append(old.pop(0))
            else:
                right.append(new.pop(0))
        yield left, right


def _flattened(ledger: Ledger, labels: Sequence[Label], lengths: Shape, where: str) -> Atoms | None:
    """Return the atoms of dimensions that become one; None if none has any."""
    with_atoms = [index for index, label in enumerate(labels) if isinstance(label, np.ndarray)]
    if not with_atoms:
        return None
    for index in with_atoms[:-1]:
        ledger.stop(labels[index], f"{where} joins two dimensions that could both be cut")
    last = with_atoms[-1]
    shape = [-1 if index == last else 1 for index in range(len(lengths))]
    return np.broadcast_to(np.asarray(labels[last]).reshape(shape), lengths).ravel()


def _split(ledger: Ledger, flat: Atoms, lengths: Shape) -> list[Label]:
    """Return the labels of the dimensions into which one is split: atoms for one of them."""
    if len(lengths) == 1:
        return [flat]
    atoms = flat.reshape(lengths)
    rows = [np.moveaxis(atoms, dim, -1).reshape(-1, length) for dim, length in enumerate(lengths)]
    tied = [dim for dim, row in enumerate(rows) if (row == row[0]).all()]
    kept = tied[-1] if tied else len(lengths) - 1
    for row in rows[kept][1:]:
        if not tied:
            ledger.tie(rows[kept][0], row)
    return [rows[kept][0] if dim == kept else FIXED for dim in range(len(lengths))]


def joined(labels: Sequence[Label], lengths: Shape) -> Label:
    """Return the label of a concatenation; what has no atoms stays."""
    if not any(isinstance(label, np.ndarray) for label in labels):
        return FIXED
    parts = [
        label if isinstance(label, np.ndarray) else np.full(length, STAYS)
        for label, length in zip(labels, lengths, strict=True)
    ]
    return np.concatenate(parts)


def parted(ledger: Ledger, label: Label, lengths: Shape) -> list[Label]:
    """Return the labels of a dimension's parts. Equal parts lose the same positions, since code halves what is left."""
    if isinstance(label, Bare):
        return [label] * len(lengths)
    parts = np.split(label, np.cumsum(lengths)[:-1])
    if len(set(lengths)) == 1:
        for part in parts[1:]:
            ledger.tie(parts[0], part)
    return list(parts)
