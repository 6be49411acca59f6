"""Logits in a data set's order of the classes, for weights that have another one. B images, K classes."""

from __future__ import annotations

import logging
from dataclasses import replace

import torch
from torch import Tensor, nn

from configs.errors import InputError
from models import rebuild
from models.adopt import candidates
from models.artefact import Card
from models.probe import duplicate

logger = logging.getLogger(__name__)


def require_same(named: tuple[str, ...], data: tuple[str, ...]) -> None:
    """InputError unless --classes names the classes of the data set, in any order."""
    if sorted(named) != sorted(data):
        raise InputError(
            f"--classes names {some(named)}, and the data set has {some(data)}: give the data set's names in the "
            "order of the logits, or leave --classes out"
        )


def reorder(net: nn.Module, card: Card, classes: tuple[str, ...]) -> Card:
    """Put the rows of the last layer into the order of `classes`, in place; return the card that belongs to it.

    classes: those of the card in any order. InputError: the layer that gives the logits is not found.
    """
    if classes == card.classes:
        return card
    row_K = torch.tensor([card.classes.index(name) for name in classes])
    wanted, state = _Reordered(duplicate(net), row_K), net.state_dict()
    head = candidates.head(state)
    for name in (head, f"{head.removesuffix('weight')}bias"):
        if name in state and state[name].shape[:1] == row_K.shape:
            state[name].copy_(state[name][row_K])
    if not rebuild.same_outputs(wanted, net, card.input_CHW):
        raise InputError(
            f"{card.model.name} has its classes in another order than the data set, {some(classes)}, and no layer was "
            "found whose rows give them: adopt it without a data set"
        )
    logger.info("the logits are put into the data set's order of the classes: %s", some(classes))
    return replace(card, classes=classes)


class _Reordered(nn.Module):
    """A network with its logits in another order."""

    def __init__(self, net: nn.Module, row_K: Tensor) -> None:
        super().__init__()
        self.net, self.row_K = net, row_K

    def forward(self, image_BCHW: Tensor) -> Tensor:
        logits_BK: Tensor = self.net(image_BCHW)
        return logits_BK[:, self.row_K]


def some(names: tuple[str, ...]) -> str:
    """The first four names, and whether there are more."""
    return f"{', '.join(names[:4])}{', ...' * (len(names) > 4)}"
