"""Importance of each unit of a group: one score per unit, comparable between groups.

The raw score of a unit is the sum over its entries, averaged over the tensors of its group. It is divided by the
group's mean, so that the scale of a layer does not decide which layer is cut (Fang et al., DepGraph, arXiv:2301.12900).

A new importance needs its name in models/pruning/spec.py and an entry in MEASURES.

l1, l2    |w| or w^2, of weights and of norms' scales                 (Li et al., arXiv:1608.08710)
bn_scale  |gamma| of BatchNorm                                        (Liu et al., Network Slimming, arXiv:1708.06519)
taylor    |w dL/dw| of all parameters, BatchNorm and biases included  (Molchanov et al., arXiv:1906.10771)
random    uniform in [0, 1)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from configs.errors import NonFiniteError, UsageError
from models.pruning import carve
from models.pruning.groups import KEPT, Group, Kind, Member, Structure
from models.pruning.spec import ImportanceName, PruneSpec

Scores = NDArray[np.float64]
Entry = Callable[[Member, Tensor], Tensor]
"""The score of each entry of a tensor, in float64 on the CPU: the same on every machine."""


def _magnitude(member: Member, tensor: Tensor) -> Tensor:
    return _exact(tensor).abs()


def _square(member: Member, tensor: Tensor) -> Tensor:
    return _exact(tensor).square()


def _taylor(member: Member, tensor: Tensor) -> Tensor:
    if tensor.grad is None:
        raise UsageError(
            f"prune.importance is taylor, but {member.tensor} has no gradient; run a backward pass before planning"
        )
    return (_exact(tensor) * _exact(tensor.grad)).abs()


NORMS: frozenset[Kind] = frozenset({"weight", "batch_norm", "layer_norm"})
MEASURES: dict[ImportanceName, tuple[frozenset[Kind], Entry]] = {
    "l1": (NORMS, _magnitude),
    "l2": (NORMS, _square),
    "bn_scale": (frozenset({"batch_norm"}), _magnitude),
    "taylor": (NORMS | {"bias", "parameter"}, _taylor),
}
"""The kinds of tensors that count, and the score of an entry. `random` looks at no tensor."""


def scores(net: nn.Module, structure: Structure, spec: PruneSpec) -> list[Scores | None]:
    """Return score_U for each group; None for a group that this importance does not score, which must not be cut.

    UsageError: no gradients for taylor, no BatchNorm for bn_scale. NonFiniteError: a score is NaN or infinite.
    """
    if spec.importance == "random":
        return list(_random(structure, spec.seed))
    raw = [_raw(net, group, spec.importance) for group in structure.groups]
    if all(score_U is None for score_U in raw):
        raise UsageError("prune.importance is bn_scale, but no layer that can be cut has a BatchNorm; use l1 or l2")
    return [
        None if score_U is None else _normalised(group, score_U)
        for group, score_U in zip(structure.groups, raw, strict=True)
    ]


def _raw(net: nn.Module, group: Group, importance: ImportanceName) -> Tensor | None:
    kinds, entry = MEASURES[importance]
    counted = [member for member in group.members if member.kind in kinds]
    if not counted:
        return None
    total_U = torch.zeros(group.units, dtype=torch.float64)
    for member in counted:
        value_I = _per_index(member, entry(member, carve.tensor(net, member.tensor)))
        owned = np.flatnonzero(member.owner_I != KEPT)
        total_U.index_add_(0, torch.from_numpy(member.owner_I[owned]), value_I[torch.from_numpy(owned)])
    return total_U / len(counted)


def _per_index(member: Member, entries: Tensor) -> Tensor:
    """Return the sum over each index of the member's dimension."""
    return entries.movedim(member.dim, 0).flatten(1).sum(1) if entries.dim() > 1 else entries


def _exact(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", torch.float64)


def _normalised(group: Group, score_U: Tensor) -> Scores:
    mean = float(score_U.mean())
    if not np.isfinite(mean):
        raise NonFiniteError(f"the importance of layer {group.root} is {mean}: its weights or gradients are not finite")
    normalised: Scores = (score_U / mean if mean > 0 else score_U).numpy()
    return normalised


def _random(structure: Structure, seed: int) -> Iterator[Scores]:
    # The size of the network is mixed in, so that later cuts do not draw the numbers of the first one again.
    mixed = np.random.SeedSequence([seed, int(structure.prices.constant_B[0])])
    bits = np.random.Philox(mixed)
    for group in structure.groups:
        yield (bits.random_raw(group.units) >> np.uint64(11)) / 2.0**53
