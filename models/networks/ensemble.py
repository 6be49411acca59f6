"""Networks whose probabilities are averaged: the best teacher that several trainings make (Hinton et al.,
arXiv:1503.02531).

Shapes: B batch, C channels, H height, W width, K classes, M members.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from configs.errors import UsageError
from models.own.code import is_code
from models.spec import ENSEMBLE, ModelSpec, from_plain, names_file

MOST = 64


class Ensemble(nn.Module):
    """The logarithm of the mean of the members' probabilities, which are its logits."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """image_BCHW -> logits_BK."""
        return mean_answer([member(image_BCHW) for member in self.members])


def mean_answer(logits: Sequence[Tensor]) -> Tensor:
    """The logarithm of the mean of the probabilities of several logits_BK: logits_BK again."""
    log_MBK = torch.stack([logits_BK.log_softmax(dim=1) for logits_BK in logits])
    return log_MBK.logsumexp(dim=0) - math.log(len(logits))


def spec(members: Sequence[ModelSpec]) -> ModelSpec:
    """The spec of an ensemble. UsageError: a member that cannot be in one."""
    plain = json.loads(json.dumps([asdict(member) for member in members]))  # lists for tuples, as a file has them
    made = ModelSpec(name=ENSEMBLE, kwargs={"members": plain})
    specs(made.kwargs)
    return made


def specs(kwargs: Mapping[str, Any]) -> list[ModelSpec]:
    """The members' specs. UsageError: they are damaged, none or too many, or a member that cannot be in an ensemble."""
    found = kwargs.get("members")
    if kwargs.keys() != {"members"} or not isinstance(found, list) or not 1 <= len(found) <= MOST:
        raise UsageError(f"{ENSEMBLE} takes from 1 to {MOST} members; python -m models.ensemble makes one of files")
    try:
        members = list(map(from_plain, found))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"a member of {ENSEMBLE} is unreadable ({error})") from error
    for member in members:
        if member.name == ENSEMBLE or is_code(member.name) or names_file(member.name) or member.pretrained:
            raise UsageError(f"{member.name} cannot be a member of {ENSEMBLE}: only networks of ours and of libraries")
    return members
