"""Unstructured pruning: masks that hold weights at zero, for an exact number of free parameters.

The budget counts as torchinfo counts a masked network: every entry of a parameter without a mask (BatchNorm, biases,
embeddings), zero or not, plus every entry that a mask leaves free. A free entry can be zero, as BatchNorm biases are at
first. So `counting.measure(module).nonzero` is at most the budget, and equal to it once training has changed every free
entry; `free_entries` is always equal to it.

Masks are kept outside the network, by parameter name. deepcopy, an EMA, torch.compile, checkpoints and artefacts are
those of a plain network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from configs.errors import NonFiniteError, UsageError


@dataclass(frozen=True, slots=True)
class Held:
    """Parameters of one module with their masks, looked up once for all steps."""

    pairs: tuple[tuple[nn.Parameter, Tensor], ...]

    @torch.no_grad()
    def zero_(self) -> None:
        """Set the cut weights to zero. Call it after every optimizer step.

        Momentum and weight decay may change a cut weight in a step; this sets it to 0.0 again, never -0.0 or NaN.
        """
        for parameter, cut in self.pairs:
            parameter.masked_fill_(cut, 0)

    @torch.no_grad()
    def zero_gradients_(self) -> None:
        """Set the gradients of cut weights to zero. Call it before clipping, whose norm includes them otherwise."""
        for parameter, cut in self.pairs:
            if parameter.grad is not None:
                parameter.grad.masked_fill_(cut, 0)


class Masks:
    """A bool tensor per parameter, by name and of its shape: True where the weight is held at zero."""

    def __init__(self, cut: Mapping[str, Tensor]) -> None:
        self._cut = dict(cut)

    @classmethod
    def plan(cls, module: nn.Module, nonzero: int, *, within: Masks | None = None) -> Self:
        """Choose weights to cut so that exactly `nonzero` parameter entries stay free; the module is not changed.

        The smallest weights of all convolutions and linear layers are cut first; of equal weights, the last. Each layer
        keeps at least as many weights as it has outputs, and each class its largest weight in the head, which is the
        last layer. Weights cut by `within` stay cut.
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
        """Return the masks of a network that is masked already, such as a loaded file: its zero weights are cut."""
        return cls({name: weight.detach() == 0 for name, weight in prunable(module).items()})

    def on(self, module: nn.Module) -> Held:
        """Find the parameters of a module, which must neither be replaced nor moved for as long as the result is used.

        UsageError: the module lacks such a parameter (pass the network, not its DDP wrapper), or its shape differs.
        """
        return Held(tuple(self._pairs(module)))

    def apply_(self, module: nn.Module) -> None:
        """Set the cut weights of a module to zero, as once on an EMA after each cut. UsageError as in `on`.

        Parameters are looked up by name, so they may be replaced or moved between calls.
        """
        self.on(module).zero_()

    def free_entries(self, module: nn.Module) -> int:
        """Count the parameter entries that may be non-zero, as the budget does."""
        return sum(p.numel() for p in module.parameters()) - sum(int(cut.sum()) for _, cut in self._pairs(module))

    def state_dict(self) -> dict[str, Tensor]:
        """Return the masks by parameter name, on the CPU."""
        return {name: cut.cpu() for name, cut in self._cut.items()}

    def _pairs(self, module: nn.Module) -> list[tuple[nn.Parameter, Tensor]]:
        parameters = dict(module.named_parameters(remove_duplicate=False))
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
    """Return the weights of all convolutions and linear layers, by name and in their order.

    Tied weights come once, under the name that they have in the first of these layers, whatever else holds them.
    """
    found: dict[int, tuple[str, nn.Parameter]] = {}
    for path, layer in module.named_modules():
        weight = layer._parameters.get("weight")
        if isinstance(layer, nn.modules.conv._ConvNd | nn.Linear) and weight is not None:
            found.setdefault(id(weight), (f"{path}.weight" if path else "weight", weight))
    return dict(found.values())


def cubic_schedule(parameters: int, nonzero: int, steps: int) -> tuple[int, ...]:
    """Return the budget after each step, fast falling at first; the last one is `nonzero`.

    Zhu & Gupta, To prune, or not to prune (arXiv:1710.01878), equation 1, with s_i = 0 and counts in place of
    fractions. UsageError: no steps, or a budget that is not below the parameters.
    """
    if steps < 1 or not 0 < nonzero <= parameters:
        raise UsageError(f"{steps} steps from {parameters:,} to {nonzero:,} non-zero parameters are no schedule")
    return tuple(
        # In integers, so that a budget is the same on every machine.
        nonzero + (parameters - nonzero) * (steps - step) ** 3 // steps**3
        for step in range(1, steps + 1)
    )


def _magnitude(name: str, weight: Tensor, within: Masks | None) -> Tensor:
    """Return |weight| in float32 on the CPU, and -1 where it is already cut."""
    score = weight.detach().float().abs().cpu()
    if not score.isfinite().all():
        raise NonFiniteError(f"{name} has a weight that is NaN or infinite; its weights cannot be ranked")
    if within is not None and name in within._cut:
        score[within._cut[name].cpu()] = -1
    return score


def _floor(score: Tensor, *, per_output: bool) -> Tensor:
    """Mark the weights that a layer always keeps: its largest ones, as many as it has outputs, or one per output."""
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
    """Mark the `count` largest values; of equal ones, the first. With topk, the choice would depend on the machine."""
    if count == 0:
        return torch.zeros_like(values, dtype=torch.bool)
    threshold = values.kthvalue(len(values) - count + 1).values
    largest = values > threshold
    equal = (values == threshold).nonzero().view(-1)
    largest[equal[: count - int(largest.sum())]] = True
    return largest
