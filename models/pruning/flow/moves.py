"""Rules for operations that move entries without changing them: views, slices, concatenations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.pruning.flow import views
from models.pruning.flow.calls import Call, unknown
from models.pruning.flow.labels import FIXED, STAYS, UNIFORM, Label, Labels


def same(call: Call) -> Sequence[Labels]:
    """Labels of the first tensor."""
    return [call.labels_of(call.image)]


def uniform(call: Call) -> Sequence[Labels]:
    """A tensor of equal entries."""
    return [(UNIFORM,) * tensor.dim() for tensor in call.out]


def reshape(call: Call) -> Sequence[Labels]:
    """A view; squeeze and unsqueeze are views too."""
    labels, before = call.labels_of(call.image), call.image.shape
    return [views.reshaped(call.ledger, labels, before, call.out[0].shape, call.where)]


def strided(call: Call) -> Sequence[Labels]:
    """A view by strides, which is followed only where it changes nothing."""
    if call.out[0].shape == call.image.shape and call.out[0].stride() == call.image.stride():
        return same(call)
    return unknown(call)


def expand(call: Call) -> Sequence[Labels]:
    """Entries repeated along new dimensions, or along those of length 1."""
    labels, shape, out = call.labels_of(call.image), call.image.shape, call.out[0].shape
    padded = (1,) * (len(out) - len(shape)) + tuple(shape)
    known = (FIXED,) * (len(out) - len(shape)) + labels
    return [
        tuple(UNIFORM if own == 1 < length else label for own, length, label in zip(padded, out, known, strict=True))
    ]


def permute(call: Call) -> Sequence[Labels]:
    """Dimensions in another order."""
    labels = call.labels_of(call.image)
    return [tuple(labels[dim] for dim in call.arguments["dims"])]


def transpose(call: Call) -> Sequence[Labels]:
    """Two dimensions exchanged."""
    labels = list(call.labels_of(call.image))
    first, second = (call.dim(name) for name in ("dim0", "dim1"))
    labels[first], labels[second] = labels[second], labels[first]
    return [tuple(labels)]


def turned(call: Call) -> Sequence[Labels]:
    """All dimensions reversed."""
    return [tuple(reversed(call.labels_of(call.image)))]


def sliced(call: Call) -> Sequence[Labels]:
    """A range of one dimension."""
    labels, dim = list(call.labels_of(call.image)), call.dim()
    label = labels[dim]
    if isinstance(label, np.ndarray):
        start, end, step = (call.arguments.get(name) for name in ("start", "end", "step"))
        labels[dim] = label[slice(start, end, step or 1)]
    return [tuple(labels)]


def select(call: Call) -> Sequence[Labels]:
    """One index of one dimension, or each of them."""
    labels, dim = list(call.labels_of(call.image)), call.dim()
    call.ledger.stop(labels.pop(dim), f"{call.where} takes one index of it")
    return [tuple(labels)] * len(call.out)


def split(call: Call) -> Sequence[Labels]:
    """Consecutive parts of one dimension."""
    labels, dim = call.labels_of(call.image), call.dim()
    parts = views.parted(call.ledger, labels[dim], [out.shape[dim] for out in call.out])
    return [(*labels[:dim], part, *labels[dim + 1 :]) for part in parts]


def concatenate(call: Call) -> Sequence[Labels]:
    """Tensors one after another along one dimension."""
    tensors = [tensor for tensor in call.tensors() if tensor.dim() == call.out[0].dim()]
    every, dim = [call.labels_of(tensor) for tensor in tensors], int(call.arguments["dim"]) % call.out[0].dim()
    found: list[Label] = []
    for axis in range(call.out[0].dim()):
        labels = [own[axis] for own in every]
        lengths = [tensor.shape[axis] for tensor in tensors]
        reason = f"{call.where} joins it to a tensor of fixed length"
        found.append(views.joined(labels, lengths) if axis == dim else call.ledger.merge(labels, reason))
    return [tuple(found)]


def stack(call: Call) -> Sequence[Labels]:
    """Tensors along a new dimension."""
    every, dim = [call.labels_of(tensor) for tensor in call.tensors()], int(call.arguments["dim"])
    merged = [call.ledger.merge(labels, f"{call.where} stacks it") for labels in zip(*every, strict=True)]
    merged.insert(dim % call.out[0].dim(), FIXED)
    return [tuple(merged)]


def pad(call: Call) -> Sequence[Labels]:
    """Entries added around a tensor."""
    labels = list(call.labels_of(call.image))
    pads = list(call.arguments.get("pad", call.arguments.get("padding", [])))
    for index in range(len(pads) // 2):
        dim, before, after = -1 - index, pads[2 * index], pads[2 * index + 1]
        label = labels[dim]
        if not isinstance(label, np.ndarray):
            labels[dim] = FIXED if before or after else label
        elif min(before, after) < 0:
            call.ledger.stop(label, f"{call.where} crops it")
            labels[dim] = FIXED
        else:
            labels[dim] = np.concatenate([np.full(before, STAYS), label, np.full(after, STAYS)])
    return [tuple(labels)]


def embedding(call: Call) -> Sequence[Labels]:
    """Rows of a table, by number."""
    weight, index = call.of("weight"), call.arguments["indices"]
    assert weight is not None
    call.ledger.stop(weight[0], f"{call.where} looks rows up by number")
    return [(*(FIXED,) * index.dim(), weight[1])]


def index(call: Call) -> Sequence[Labels]:
    """Indices of some dimensions, by tensors."""
    labels, indices = list(call.labels_of(call.image)), list(call.arguments["indices"])
    taken = [dim for dim, index in enumerate(indices) if index is not None]
    for dim in taken:
        call.ledger.stop(labels[dim], f"{call.where} takes fixed indices of it")
    if taken != list(range(taken[0], taken[-1] + 1)):
        return unknown(call)
    new = call.out[0].dim() - (len(labels) - len(taken))
    return [(*labels[: taken[0]], *(FIXED,) * new, *labels[taken[-1] + 1 :])]


def picked(call: Call) -> Sequence[Labels]:
    """Indices of one dimension, by a tensor."""
    labels, dim = list(call.labels_of(call.image)), call.dim()
    call.ledger.stop(labels[dim], f"{call.where} takes fixed indices of it")
    labels[dim] = FIXED
    return [tuple(labels)]


def rolled(call: Call) -> Sequence[Labels]:
    """Indices moved along a dimension."""
    labels, dims = list(call.labels_of(call.image)), call.arguments["dims"]
    for dim in dims:
        call.ledger.stop(labels[dim], f"{call.where} moves its indices")
    return [tuple(FIXED if dim in [d % len(labels) for d in dims] else label for dim, label in enumerate(labels))]


def repeat(call: Call) -> Sequence[Labels]:
    """A tensor repeated along its dimensions."""
    times = list(call.arguments["repeats"])
    labels = (FIXED,) * (len(times) - call.image.dim()) + call.labels_of(call.image)
    shape = (1,) * (len(times) - call.image.dim()) + tuple(call.image.shape)
    found: list[Label] = []
    for label, count, length in zip(labels, times, shape, strict=True):
        if isinstance(label, np.ndarray):
            found.append(np.tile(label, count))
        else:
            found.append(UNIFORM if length == 1 < count else label)
    return [tuple(found)]
