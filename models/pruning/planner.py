"""From a budget to cuts: one cut on the current weights, or all of them simulated without training."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from configs.errors import UsageError
from models import counting
from models.probe import duplicate
from models.pruning import carve, search
from models.pruning.groups import Structure
from models.pruning.importance import scores
from models.pruning.plan import Cut, PrunePlan
from models.pruning.search import Problem
from models.pruning.spec import Budget, PruneSpec
from models.pruning.tracing import trace


def plan_cut(
    net: nn.Module,
    input_CHW: tuple[int, int, int],
    target: Budget,
    spec: PruneSpec,
    *,
    start: Mapping[str, int] | None = None,
) -> Cut:
    """Plan one cut on the current weights; the network is not changed. Equal weights give equal cuts.

    Args:
        net: The network as it is now.
        input_CHW: The image for which MACs are counted.
        target: Limits on the network after the cut: `spec.budget.next_target(...)`. The last target is the budget.
        spec: The settings.
        start: Widths before the first cut, `widths(...)`, to which floors and shares refer; None: this is the first.

    Raises:
        UsageError: The target is below what floors allow, or the network lacks what the scores are computed from.
        InputError: The network does not take such an image, or nothing in it can be cut.
    """
    structure = trace(net, input_CHW, spec.ignored_layers)
    return _cut(net, _problem(net, structure, spec, start or structure.widths), target)[0]


def widths(net: nn.Module, input_CHW: tuple[int, int, int], spec: PruneSpec) -> dict[str, int]:
    """Return the output channels of every layer that can be cut, by name."""
    return trace(net, input_CHW, spec.ignored_layers).widths


def plan(net: nn.Module, input_CHW: tuple[int, int, int], spec: PruneSpec) -> PrunePlan:
    """Simulate all cuts on a copy, without training between them; the network is not changed.

    UsageError: the budget is not below the network's cost, or below what floors allow. InputError: as for `plan_cut`.
    """
    structure = trace(net, input_CHW, spec.ignored_layers)
    first = structure
    parameters, macs = structure.prices.constant_B.tolist()
    _require_below(spec.budget, parameters, macs)
    twin = _twin(net)
    cuts: list[Cut] = []
    found = parameters, macs
    for left in range(spec.steps, 0, -1):
        problem = _problem(twin, structure, spec, first.widths)
        if left == spec.steps:
            search.require_reachable(problem, spec.budget)
        cut, removed = _cut(twin, problem, spec.budget.next_target(*found, left))
        carve.carve(twin, structure.kept(removed))
        structure = structure.after(removed)
        cuts.append(cut)
        found = cut.parameters, cut.macs
    return PrunePlan(budget=spec.budget, parameters=parameters, macs=macs, widths=first.widths, cuts=tuple(cuts))


def require_reachable(net: nn.Module, input_CHW: tuple[int, int, int], spec: PruneSpec) -> None:
    """Refuse a budget that this network cannot meet whatever its weights, in less time than one cut takes.

    Errors as for `plan`.
    """
    structure = trace(net, input_CHW, spec.ignored_layers)
    parameters, macs = structure.prices.constant_B.tolist()
    _require_below(spec.budget, parameters, macs)
    search.require_reachable(_problem(net, structure, spec, structure.widths), spec.budget)


def _problem(net: nn.Module, structure: Structure, spec: PruneSpec, start: Mapping[str, int]) -> Problem:
    if structure.other_macs and spec.budget.macs is not None:
        raise UsageError(
            f"budget.macs cannot be met for this network: {structure.other_macs} of its MACs are outside of "
            "convolutions, linear layers and attention of a known kind; give budget.parameters alone"
        )
    return Problem(structure=structure, spec=spec, start=start, scores=scores(net, structure, spec))


def _cut(net: nn.Module, problem: Problem, target: Budget) -> tuple[Cut, dict[str, list[int]]]:
    """Return the cut, by channels, and what `carve` needs: the units, by root layer."""
    structure = problem.structure
    level_G = search.greedy(problem, target)
    # The local search also runs where a large unit went below the target: the cuts to come then have more room.
    if problem.spec.budget.allows(*problem.count(level_G)):
        level_G = search.fill(problem, level_G, target)
    removed = {root: units_U.tolist() for root, units_U in problem.units(level_G).items()}
    groups = {group.root: group for group in structure.groups}
    parameters, macs = problem.count(level_G)
    cut = Cut(
        input_CHW=structure.input_CHW,
        removed={root: groups[root].channels(units) for root, units in removed.items()},
        widths_before=structure.widths,
        widths=structure.after(removed).widths,
        parameters=parameters,
        macs=_measured(net, structure, removed) if structure.other_macs else macs,
    )
    assert target.allows(cut.parameters, cut.macs), f"a cut to {cut.parameters}, {cut.macs} is above {target}"
    return cut, removed


def _measured(net: nn.Module, structure: Structure, removed: dict[str, list[int]]) -> int:
    """Count the MACs after a cut, for a network whose MACs `Structure.prices` does not fully explain."""
    twin = duplicate(net)
    carve.carve(twin, structure.kept(removed))
    return counting.measure(twin, structure.input_CHW).macs


def _require_below(budget: Budget, parameters: int, macs: int) -> None:
    for key, limit, found in (("parameters", budget.parameters, parameters), ("macs", budget.macs, macs)):
        if limit is not None and limit >= found:
            raise UsageError(f"budget.{key} is {limit}, but the network has only {found}; give less, or cut nothing")


def _twin(net: nn.Module) -> nn.Module:
    """Copy a network with its gradients, which deepcopy leaves out."""
    twin = duplicate(net)
    for own, other in zip(twin.parameters(), net.parameters(), strict=True):
        own.grad = None if other.grad is None else other.grad.clone()
    return twin
