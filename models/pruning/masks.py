"""Unstructured cuts: which weights stay zero, to an exact number of parameters that may be anything else.

The budget counts as torchinfo counts a masked network: every entry of a parameter that has no mask (BatchNorm, biases,
embeddings), zero or not, plus every entry that its mask leaves free. A free entry may happen to be zero: BatchNorm
biases start there. So the literal non-zeros, `counting.measure(module).nonzero`, are at most the budget, and equal to
it once training has moved every free entry; `free_entries` is the budget at any time.

Masks lie beside the network, by parameter name. The network stays plain: deepcopy, an EMA, torch.compile, a checkpoint
and the artefact need to know nothing of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn

from configs.errors import NonFiniteError, UsageError


class Masks:
    """By parameter name, a bool tensor of the parameter's shape: True where the weight is held at zero."""

    def __init__(self, cut: Mapping[str, Tensor]) -> None:
        self._cut = dict(cut)

    @classmethod
    def plan(cls, module: nn.Module, nonzero: int, *, within: Masks | None = None) -> Self:
        """Choose what to cut so that exactly `nonzero` parameter entries stay free; the module is not touched.

        The smallest weights of all convolutions and linear layers go first, wherever they lie; of equal ones the later.
        Each layer keeps at least as many weights as it has outputs, and each class its largest weight in the head,
        which is the last layer. What `within` has cut stays cut.
        UsageError: a budget below these floors or above what is there. NonFiniteError: a weight is NaN or infinite.
        """
        weights = prunable(module)
        magnitude = {name: _magnitude(name, weight, within) for name, weight in weights.items()}
        head = next(reversed(weights), None)
        floors = {name: _floor(score, per_output=name == head) for name, score in magnitude.items()}
        always = sum(p.numel() for p in module.parameters()) - sum(weight.numel() for weight in weights.values())
        least = always + sum(int(floor.sum()) for floor in floors.values())
        most = always + sum(int((score >= 0).sum()) for score in magnitude.values())
        if not least <= nonzero <= most:
            raise UsageError(
                f"a budget of {nonzero:,} non-zero parameters cannot be had; this network takes {least:,} to {most:,} "
                f"({always:,} are BatchNorm, biases and others that are never cut)"
            )
        keep = _largest(magnitude, floors, nonzero - least)
        return cls({name: ~free for name, free in keep.items()})

    @classmethod
    def of(cls, module: nn.Module) -> Self:
        """Read the masks off a network that was masked before, such as a loaded file: its zero weights are cut."""
        return cls({name: weight.detach() == 0 for name, weight in prunable(module).items()})

    @torch.no_grad()
    def apply_(self, module: nn.Module) -> None:
        """Set the cut weights to zero. Call it after every optimizer step, and once on an EMA after each cut.

        Momentum and weight decay may move a cut weight within a step; after this call it is 0.0 again, never -0.0 or
        NaN. The live parameters are looked up by name, so it does not matter who replaced or moved them.
        UsageError: the module has no such parameter (give the network itself, not its DDP wrapper), or another shape.
        """
        for parameter, cut in self._pairs(module):
            parameter.masked_fill_(cut, 0)

    @torch.no_grad()
    def apply_to_gradients_(self, module: nn.Module) -> None:
        """Set the gradients of cut weights to zero. Call it before clipping, whose norm they would dominate."""
        for parameter, cut in self._pairs(module):
            if parameter.grad is not None:
                parameter.grad.masked_fill_(cut, 0)

    def free_entries(self, module: nn.Module) -> int:
        """Count the parameter entries that may be non-zero: what the budget counts."""
        return sum(p.numel() for p in module.parameters()) - sum(int(cut.sum()) for _, cut in self._pairs(module))

    def state_dict(self) -> dict[str, Tensor]:
        """Return the masks by parameter name, on the CPU."""
        return {name: cut.cpu() for name, cut in self._cut.items()}

    def _pairs(self, module: nn.Module) -> list[tuple[nn.Parameter, Tensor]]:
        parameters = dict(module.named_parameters())
        pairs = []
        for name, cut in self._cut.items():
            parameter = parameters.get(name)
            if parameter is None or parameter.shape != cut.shape:
                found = "not there" if parameter is None else f"{list(parameter.shape)}"
                raise UsageError(f"the mask of {name} is {list(cut.shape)}, but the parameter is {found}; plan again")
            if cut.device != parameter.device:
                self._cut[name] = cut = cut.to(parameter.device)
            pairs.append((parameter, cut))
        return pairs


def prunable(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the weights of all convolutions and linear layers, by name, in the network's order; tied ones once."""
    layers = dict(module.named_modules())
    kinds = nn.modules.conv._ConvNd | nn.Linear
    return {
        full: parameter
        for full, parameter in module.named_parameters()
        for path, _, name in [full.rpartition(".")]
        if name == "weight" and isinstance(layers[path], kinds)
    }


def cubic_schedule(parameters: int, nonzero: int, steps: int) -> tuple[int, ...]:
    """Return the budget after each step, falling fast at first; the last one is `nonzero`.

    Zhu & Gupta, To prune, or not to prune (arXiv:1710.01878), equation 1, with s_i = 0 and counts in place of
    fractions. UsageError: no step, or a budget that is no cut.
    """
    if steps < 1 or not 0 < nonzero <= parameters:
        raise UsageError(f"{steps} steps from {parameters:,} to {nonzero:,} non-zero parameters are no schedule")
    return tuple(
        # In integers, so that a budget is the same on every machine.
        nonzero + (parameters - nonzero) * (steps - step) ** 3 // steps**3
        for step in range(1, steps + 1)
    )


def _magnitude(name: str, weight: Tensor, within: Masks | None) -> Tensor:
    """Return |weight| in float32 on the CPU, and -1 where it is cut already."""
    score = weight.detach().float().abs().cpu()
    if not score.isfinite().all():
        raise NonFiniteError(f"{name} has a weight that is NaN or infinite; nothing can be ranked by it")
    if within is not None and name in within._cut:
        score[within._cut[name].cpu()] = -1
    return score


def _floor(score: Tensor, *, per_output: bool) -> Tensor:
    """Mark the weights that a layer keeps whatever the budget: its largest, as many as outputs or one per output."""
    floor = torch.zeros_like(score, dtype=torch.bool)
    if per_output:
        floor.view(len(score), -1).scatter_(1, score.view(len(score), -1).argmax(1, keepdim=True), True)
    else:
        floor = _first_largest(score.view(-1), len(score)).view_as(score)
    return floor & (score >= 0)


def _largest(scores: Mapping[str, Tensor], floors: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """Return which entries to keep: the floors, and the `count` largest of all others."""
    others = torch.cat([score.masked_fill(floors[name], -1).view(-1) for name, score in scores.items()])
    keep = _first_largest(others, count) | torch.cat([floor.view(-1) for floor in floors.values()])
    parts = torch.split(keep, [score.numel() for score in scores.values()])
    return {name: part.view_as(score) for part, (name, score) in zip(parts, scores.items(), strict=True)}


def _first_largest(values: Tensor, count: int) -> Tensor:
    """Mark the `count` largest; of equal ones the first, where topk would leave the choice to the machine."""
    if count == 0:
        return torch.zeros_like(values, dtype=torch.bool)
    threshold = values.kthvalue(len(values) - count + 1).values
    largest = values > threshold
    equal = (values == threshold).nonzero().view(-1)
    largest[equal[: count - int(largest.sum())]] = True
    return largest
