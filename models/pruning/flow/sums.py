"""Rules for operations that compute: entry by entry, sums, products, normalisations."""

from __future__ import annotations

from collections.abc import Sequence

from models.pruning.flow import products
from models.pruning.flow.calls import Call, Rule, listed, stop_all
from models.pruning.flow.labels import FIXED, UNIFORM, Label, Labels


def entrywise(call: Call) -> Sequence[Labels]:
    """All tensors entry by entry."""
    tensors = list(call.tensors())
    labels, shapes = [call.labels_of(tensor) for tensor in tensors], [tensor.shape for tensor in tensors]
    found = products.broadcast(call.ledger, labels, shapes, call.out[0].shape, call.where)
    return [found] * len(call.out)


def copied(call: Call) -> Sequence[Labels]:
    """A copy into a tensor; one that was made uniform no longer is, and does not know what it holds."""
    own, source = (call.arguments[name] for name in ("self", "src"))
    if any(label is UNIFORM for label in call.labels_of(own)):
        stop_all(call, [source])
        return [call.labels_of(own)]
    return entrywise(call)


def reduce(call: Call) -> Sequence[Labels]:
    """Dimensions summed or compared."""
    labels, rank = call.labels_of(call.image), call.image.dim()
    given = call.arguments.get("dim")
    dims = range(rank) if given in (None, []) else [dim % max(rank, 1) for dim in listed(given)]
    keep = bool(call.arguments.get("keepdim"))
    found = [FIXED if dim in dims else label for dim, label in enumerate(labels) if keep or dim not in dims]
    return [tuple(found)] * len(call.out)


def pool(call: Call) -> Sequence[Labels]:
    """Keep the labels of the dimensions that keep their length; channels come before the image's sides."""
    labels, shape, out = call.labels_of(call.image), call.image.shape, call.out[0].shape
    found: list[Label] = []
    for label, before, after in zip(labels, shape, out, strict=True):
        if before != after:
            call.ledger.stop(label, f"{call.where} changes its length")
        found.append(label if before == after else FIXED)
    return [tuple(found)] * len(call.out)


def convolution(call: Call) -> Sequence[Labels]:
    """A convolution, transposed or not."""
    given, ledger = call.arguments, call.ledger
    image, weight = call.of("input"), call.of("weight")
    assert image is not None
    assert weight is not None
    rule = products.transposed if given["transposed"] else products.convolved
    sizes = tuple(given["weight"].shape[:2])
    outputs = rule(ledger, image, weight, sizes, given["groups"], call.where)
    bias = call.of("bias")
    if bias is not None:
        outputs = ledger.merge([outputs, bias[0]], f"{call.where} has a bias of fixed length")
    sides = _sides(call, image, given["input"].shape)
    return [(image[0], outputs, *sides)]


def _sides(call: Call, image: Labels, shape: Sequence[int]) -> list[Label]:
    sides: list[Label] = []
    for label, before, after in zip(image[2:], shape[2:], call.out[0].shape[2:], strict=True):
        if before != after:
            call.ledger.stop(label, f"{call.where} changes its length")
        sides.append(label if before == after else FIXED)
    return sides


def channel_norm(call: Call) -> Sequence[Labels]:
    """Batch norm and group norm: everything of a layer's own goes along the image's channels."""
    image = call.of("input")
    assert image is not None
    names = ("weight", "bias", "running_mean", "running_var")
    own = [label[0] for name in names if (label := call.of(name)) is not None]
    channels = call.ledger.merge([image[1], *own], f"{call.where} takes a fixed number of channels")
    if "group" in call.arguments:
        products.share_out(call.ledger, channels, call.arguments["group"], call.where)
    return [(image[0], channels, *image[2:])]


def layer_norm(call: Call) -> Sequence[Labels]:
    """A normalisation over the last dimensions."""
    image, rank = call.of("input"), len(call.arguments["normalized_shape"])
    assert image is not None
    own = [label for name in ("weight", "bias") if (label := call.of(name)) is not None]
    ends = zip(image[len(image) - rank :], *own, strict=True)
    merged = [call.ledger.merge(labels, f"{call.where} normalises a fixed length") for labels in ends]
    return [(*image[: len(image) - rank], *merged)]


def matrices(*names: str) -> Rule:
    """Return the rule for a product of these two arguments, or of the last two added to the first."""

    def rule(call: Call) -> Sequence[Labels]:
        first, second = (call.of(name) for name in names[-2:])
        assert first is not None
        assert second is not None
        found = products.product(call.ledger, first, second, call.where)
        added = call.of("self") if len(names) == 3 else None
        if added is None:
            return [found]
        shapes = [call.out[0].shape, call.arguments["self"].shape]
        return [products.broadcast(call.ledger, [found, added], shapes, call.out[0].shape, call.where)]

    return rule


def vector(call: Call) -> Sequence[Labels]:
    """A matrix times a vector."""
    matrix, vector = call.of("self"), call.of("vec")
    assert matrix is not None
    assert vector is not None
    products.contract(call.ledger, matrix[-1], vector[0], call.where)
    return [matrix[:-1]]


def dot(call: Call) -> Sequence[Labels]:
    """A product of two vectors."""
    first, second = (call.labels_of(tensor) for tensor in call.tensors())
    products.contract(call.ledger, first[0], second[0], call.where)
    return [()]


def linear(call: Call) -> Sequence[Labels]:
    """A linear layer."""
    image, weight, bias = call.of("input"), call.of("weight"), call.of("bias")
    assert image is not None
    assert weight is not None
    products.contract(call.ledger, image[-1], weight[1], call.where)
    outputs = weight[0] if bias is None else call.ledger.merge([weight[0], bias[0]], call.where)
    return [(*image[:-1], outputs)]
