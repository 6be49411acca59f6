"""How much the network would miss each unit of a group: one score per unit, comparable between groups.

A unit's raw score adds over the entries that leave with it and is averaged over the tensors of its group; divided by
the group's mean, so that a layer's scale does not decide which layer is cut (Fang et al., DepGraph, arXiv:2301.12900).

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
from models.pruning.cuts import PruneSpec
from models.pruning.groups import KEPT, Group, Kind, Member, Structure

Scores = NDArray[np.float64]
Reduce = Callable[[Tensor], Tensor]
"""Makes one vector of scores out of those of all ranks: their mean."""
NORMS: frozenset[Kind] = frozenset({"weight", "batch_norm", "layer_norm"})
KINDS: dict[str, frozenset[Kind]] = {
    "l1": NORMS,
    "l2": NORMS,
    "bn_scale": frozenset({"batch_norm"}),
    "taylor": NORMS | {"bias", "parameter"},
}


def scores(net: nn.Module, structure: Structure, spec: PruneSpec, reduce: Reduce | None = None) -> list[Scores | None]:
    """Return score_U for each group; None for a group that this importance says nothing about, which is not to be cut.

    `reduce` is applied to taylor's raw scores, which depend on each rank's data. UsageError: no gradients for taylor,
    no BatchNorm for bn_scale. NonFiniteError: a score is NaN or infinite.
    """
    if spec.importance == "random":
        return list(_random(structure, spec.seed))
    raw = [_raw(net, group, spec.importance) for group in structure.groups]
    if all(score_U is None for score_U in raw):
        raise UsageError("prune.importance is bn_scale, but no layer that can be cut has a BatchNorm; take l1 or l2")
    if reduce is not None and spec.importance == "taylor":
        raw = _reduced(raw, reduce)
    return [
        None if score_U is None else _normalised(group, score_U)
        for group, score_U in zip(structure.groups, raw, strict=True)
    ]


def _raw(net: nn.Module, group: Group, importance: str) -> Tensor | None:
    counted = [member for member in group.members if member.kind in KINDS[importance]]
    if not counted:
        return None
    total_U = torch.zeros(group.units, dtype=torch.float64)
    for member in counted:
        value_I = _entries(member, carve.tensor(net, member.tensor), importance)
        owned = np.flatnonzero(member.owner_I != KEPT)
        total_U.index_add_(0, torch.from_numpy(member.owner_I[owned]), value_I[torch.from_numpy(owned)])
    return total_U / len(counted)


def _entries(member: Member, tensor: Tensor, importance: str) -> Tensor:
    """Return the sum over each index of the member's dimension. On the CPU in double: the same on every machine."""
    value = tensor.detach().to("cpu", torch.float64)
    if importance == "taylor":
        if tensor.grad is None:
            raise UsageError(
                f"prune.importance is taylor, but {member.tensor} has no gradient; run a backward pass before planning"
            )
        value = (value * tensor.grad.detach().to("cpu", torch.float64)).abs()
    else:
        value = value.square() if importance == "l2" else value.abs()
    return value.movedim(member.dim, 0).flatten(1).sum(1) if value.dim() > 1 else value


def _reduced(raw: list[Tensor | None], reduce: Reduce) -> list[Tensor | None]:
    present = [score_U for score_U in raw if score_U is not None]
    parts = iter(torch.split(reduce(torch.cat(present)), [len(score_U) for score_U in present]))
    return [None if score_U is None else next(parts) for score_U in raw]


def _normalised(group: Group, score_U: Tensor) -> Scores:
    mean = float(score_U.mean())
    if not np.isfinite(mean):
        raise NonFiniteError(f"the importance of layer {group.root} is {mean}: its weights or gradients are not finite")
    normalised: Scores = (score_U / mean if mean > 0 else score_U).numpy()
    return normalised


def _random(structure: Structure, seed: int) -> Iterator[Scores]:
    # Mixed with the network's size, so that later cuts do not draw the first one's numbers again.
    mixed = np.random.SeedSequence([seed, int(structure.prices.constant_B[0])])
    bits = np.random.Philox(mixed)
    for group in structure.groups:
        yield (bits.random_raw(group.units) >> np.uint64(11)) / 2.0**53
