"""Labels that a computation gives its output, for the tests of models/pruning/flow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from models.pruning.flow.labels import Label, Labels, Ledger
from models.pruning.flow.run import Flow, _Following


def labelled(function: Callable[..., Tensor], *shapes: tuple[int, ...]) -> tuple[Ledger, list[Labels], Labels]:
    """Return the ledger, the labels of parameters of these shapes, and those of the function's output."""
    flow = Flow()
    mode = _Following(flow, [""])
    parameters = [nn.Parameter(torch.rand(shape)) for shape in shapes]
    for index, parameter in enumerate(parameters):
        mode.labels[parameter] = flow.ledger.register(str(index), parameter, parameter.dim())
    with torch.no_grad(), mode:
        found = function(*parameters)
    return flow.ledger, [mode.labels_of(p) for p in parameters], mode.labels_of(found)


def together(ledger: Ledger, *labels: Label) -> list[list[int]]:
    """Return the components of the atoms of each label."""
    component = ledger.components()
    return [component[np.asarray(label)].tolist() for label in labels]
