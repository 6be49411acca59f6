"""Labels of the outputs of layers that sum over their inputs, and of normalisations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.pruning.flow.labels import FIXED, UNIFORM, Bare, Label, Labels, Ledger, Sharing


def contract(ledger: Ledger, first: Label, second: Label, where: str) -> None:
    """Tie two dimensions that are summed over together."""
    labels = [FIXED if label is UNIFORM else label for label in (first, second)]
    ledger.merge(labels, f"{where} sums over a dimension of fixed length")


def convolved(ledger: Ledger, image: Labels, weight: Labels, sizes: tuple[int, int], groups: int, layer: str) -> Label:
    """Tie a convolution's inputs to its weight; return the label of its output channels.

    Args:
        ledger: The ledger.
        image: Labels of the image, batch first.
        weight: Labels of the weight.
        sizes: The weight's first two lengths: outputs, and inputs per group.
        groups: The number of groups.
        layer: The layer's name.
    """
    inputs, outputs = image[1], weight[0]
    for label in weight[2:]:
        ledger.stop(label, f"{layer} has a kernel")
    if groups == 1:
        contract(ledger, inputs, weight[1], layer)
        return outputs
    if sizes == (groups, 1):
        return ledger.merge([outputs, _firm(inputs)], f"{layer} has one filter for each input channel")
    columns = inputs.reshape(groups, -1) if isinstance(inputs, np.ndarray) else None
    rows = outputs.reshape(groups, -1) if isinstance(outputs, np.ndarray) else None
    if rows is not None:
        positions = weight[1] if isinstance(weight[1], np.ndarray) else None
        ledger.sharings.append(Sharing(layer, columns, rows, positions))
    return outputs


def transposed(ledger: Ledger, image: Labels, weight: Labels, sizes: tuple[int, int], groups: int, layer: str) -> Label:
    """Do the same for a transposed convolution, whose weight has its inputs first."""
    inputs, outputs = image[1], weight[1]
    for label in weight[2:]:
        ledger.stop(label, f"{layer} has a kernel")
    if groups == 1:
        contract(ledger, inputs, weight[0], layer)
        return outputs
    if sizes == (groups, 1):
        return ledger.merge([weight[0], _firm(inputs)], f"{layer} has one filter for each input channel")
    for label in (inputs, weight[0], outputs):
        ledger.stop(label, f"{layer} is a transposed convolution with groups")
    return FIXED


def share_out(ledger: Ledger, label: Label, groups: int, layer: str) -> None:
    """Note that a normalisation shares its channels out among groups."""
    if isinstance(label, np.ndarray) and 1 < groups < len(label):
        ledger.sharings.append(Sharing(layer, None, label.reshape(groups, -1), None))


def product(ledger: Ledger, first: Labels, second: Labels, where: str) -> Labels:
    """Return the labels of a product of matrices, or of batches of them."""
    contract(ledger, first[-1], second[-2], where)
    pairs = zip(first[:-2], second[:-2], strict=True)
    batch = tuple(ledger.merge(pair, f"{where} takes batches of fixed length") for pair in pairs)
    return (*batch, first[-2], second[-1])


def broadcast(
    ledger: Ledger, labels: Sequence[Labels], shapes: Sequence[Sequence[int]], out: Sequence[int], where: str
) -> Labels:
    """Return the labels of an operation entry by entry, of tensors that are broadcast to the shape `out`."""
    found: list[Label] = []
    for back, length in enumerate(reversed(out), start=1):
        present = [
            own[-back]
            for own, shape in zip(labels, shapes, strict=True)
            if len(shape) >= back and shape[-back] == length
        ]
        merged = ledger.merge(present, f"{where} mixes it with a tensor of fixed length") if length > 1 else FIXED
        found.append(merged)
    return tuple(reversed(found))


def _firm(label: Label) -> Label:
    return FIXED if isinstance(label, Bare) else label
