"""A budget to a sequence of cuts, without training: what a network would look like, in seconds.

python -m models.planner --model resnet_small --num_classes 10 --input 1 28 28 --budget 100000 --steps 30
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from configs.arguments import Parser
from configs.errors import UsageError
from configs.reader import command
from models.pruning.cuts import IMPORTANCES, RANKINGS, Budget, Cut, PrunePlan, PruneSpec
from models.spec import ModelSpec

if TYPE_CHECKING:  # torch is loaded only for a command line that holds
    from torch import Tensor, nn

    from models.pruning.groups import Structure
    from models.pruning.search import Problem


def plan_cut(
    net: nn.Module,
    input_CHW: tuple[int, int, int],
    target: Budget,
    spec: PruneSpec,
    *,
    start: Mapping[str, int] | None = None,
    reduce: Callable[[Tensor], Tensor] | None = None,
) -> Cut:
    """Plan one cut on the present weights; the network is not touched. Equal weights give equal cuts.

    Args:
        net: The network as it is now.
        input_CHW: The image for which MACs are counted.
        target: What may be left: `spec.budget.next_target(...)`. The last one, the budget itself, is used up.
        spec: The rules.
        start: Widths before the first cut, `widths(...)`, to which floors and shares refer; None: this is the first.
        reduce: Makes one vector of taylor scores out of those of all ranks; None: there is one rank.

    Raises:
        UsageError: The target is below what floors allow, or scores are asked for that the network does not have.
        InputError: The network does not take such an image, or nothing in it can be cut.
    """
    from models.pruning.tracing import trace

    structure = trace(net, input_CHW, spec.ignored_layers)
    problem = _problem(net, structure, spec, start or structure.widths, reduce)
    return _cut(net, problem, target)[0]


def widths(net: nn.Module, input_CHW: tuple[int, int, int], spec: PruneSpec) -> dict[str, int]:
    """Return the output channels of every layer that can be cut, by name."""
    from models.pruning.tracing import trace

    return trace(net, input_CHW, spec.ignored_layers).widths


def plan(net: nn.Module, input_CHW: tuple[int, int, int], spec: PruneSpec) -> PrunePlan:
    """Simulate all cuts on a copy, weights as they are; the network is not touched.

    UsageError: the budget is not below the network's cost, or below what floors allow. InputError: as for `plan_cut`.
    """
    from models.pruning.carve import carve
    from models.pruning.search import require_reachable
    from models.pruning.tracing import trace

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
            require_reachable(problem, spec.budget)
        cut, removed = _cut(twin, problem, spec.budget.next_target(*found, left))
        carve(twin, structure.kept(removed))
        structure = structure.after(removed)
        cuts.append(cut)
        found = cut.parameters, cut.macs
    return PrunePlan(budget=spec.budget, parameters=parameters, macs=macs, widths=first.widths, cuts=tuple(cuts))


def require_reachable(net: nn.Module, input_CHW: tuple[int, int, int], spec: PruneSpec) -> None:
    """Refuse a budget that no weights of this network allow, in the time of one cut at most. Errors as for `plan`."""
    from models.pruning import search
    from models.pruning.tracing import trace

    structure = trace(net, input_CHW, spec.ignored_layers)
    parameters, macs = structure.prices.constant_B.tolist()
    _require_below(spec.budget, parameters, macs)
    search.require_reachable(_problem(net, structure, spec, structure.widths), spec.budget)


def _problem(
    net: nn.Module,
    structure: Structure,
    spec: PruneSpec,
    start: Mapping[str, int],
    reduce: Callable[[Tensor], Tensor] | None = None,
) -> Problem:
    from models.pruning.importance import scores
    from models.pruning.search import Problem

    if structure.other_macs and spec.budget.macs is not None:
        raise UsageError(
            f"budget.macs cannot be held for this network: {structure.other_macs} of its MACs are outside of "
            "convolutions, linear layers and attention of a known kind; give budget.parameters alone"
        )
    return Problem(structure=structure, spec=spec, start=start, scores=scores(net, structure, spec, reduce))


def _cut(net: nn.Module, problem: Problem, target: Budget) -> tuple[Cut, dict[str, list[int]]]:
    """Return the cut, by channels, and what `carve` needs: the units, by root layer."""
    from models.pruning import search

    structure = problem.structure
    level_G = search.greedy(problem, target)
    # Also where a large unit left no room for the cuts to come.
    if problem.spec.budget.allows(*problem.count(level_G)):
        level_G = search.fill(problem, level_G, target)
    removed = {root: units_U.tolist() for root, units_U in problem.units(level_G).items()}
    groups = {group.root: group for group in structure.groups}
    parameters, macs = problem.count(level_G)
    cut = Cut(
        input_CHW=structure.input_CHW,
        removed={root: groups[root].channels(units) for root, units in removed.items()},
        widths=structure.after(removed).widths,
        parameters=parameters,
        macs=_measured(net, structure, removed) if structure.other_macs else macs,
    )
    assert target.allows(cut.parameters, cut.macs), f"a cut to {cut.parameters}, {cut.macs} is above {target}"
    return cut, removed


def _measured(net: nn.Module, structure: Structure, removed: dict[str, list[int]]) -> int:
    """Count the MACs of a network whose MACs no formula explains."""
    from models import counting
    from models.pruning import carve

    twin = copy.deepcopy(net)
    carve.carve(twin, structure.kept(removed))
    return counting.measure(twin, structure.input_CHW).macs


def _require_below(budget: Budget, parameters: int, macs: int) -> None:
    for key, limit, found in (("parameters", budget.parameters, parameters), ("macs", budget.macs, macs)):
        if limit is not None and limit >= found:
            raise UsageError(f"budget.{key} is {limit}, but the network has only {found}; give less, or cut nothing")


def _twin(net: nn.Module) -> nn.Module:
    """Copy a network with its gradients, which deepcopy leaves behind."""
    twin = copy.deepcopy(net)
    for own, other in zip(twin.parameters(), net.parameters(), strict=True):
        own.grad = None if other.grad is None else other.grad.clone()
    return twin


def _parser() -> argparse.ArgumentParser:
    defaults = {key: field.default for key, field in PruneSpec.__dataclass_fields__.items()}
    parser = Parser(prog="python -m models.planner", description="Plan the cuts of a network, without training.")
    parser.add_argument("--model", required=True, help="a network's name, or a saved .safetensors file")
    parser.add_argument("--num_classes", type=int, help="needed unless --model is a file")
    parser.add_argument("--input", type=int, nargs=3, metavar=("C", "H", "W"), help="channels, height, width; likewise")
    parser.add_argument("--widths", type=int, nargs="+", help="channels per stage or block")
    parser.add_argument("--depth", type=int, help="layers of resnet_small")
    parser.add_argument("--budget", type=int, help="parameters in the end; this, --macs_budget or both")
    parser.add_argument("--macs_budget", type=int, help="multiply-accumulates of one image in the end")
    parser.add_argument("--steps", type=int, default=defaults["steps"], help="number of cuts (%(default)s)")
    parser.add_argument("--importance", default=defaults["importance"], choices=IMPORTANCES, help="(%(default)s)")
    parser.add_argument("--ranking", default=defaults["ranking"], choices=RANKINGS, help="(%(default)s)")
    parser.add_argument("--cost_normalised", action="store_true", help="compare importance per saved cost")
    parser.add_argument("--floor", type=float, default=defaults["floor"], help="share of a width that stays")
    parser.add_argument("--round_to", type=int, default=defaults["round_to"], help="widths are multiples of this")
    parser.add_argument("--ignored_layers", nargs="+", default=(), help="layers or blocks that keep their outputs")
    parser.add_argument("--seed", type=int, default=0, help="of the network's weights and of importance random")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    return parser


def _spec(options: argparse.Namespace) -> PruneSpec:
    if options.importance == "taylor":
        raise UsageError("--importance taylor needs gradients, which a plan without training does not have; take l2")
    return PruneSpec(
        budget=Budget(parameters=options.budget, macs=options.macs_budget),
        steps=options.steps,
        importance=options.importance,
        ranking=options.ranking,
        cost_normalised=options.cost_normalised,
        floor=options.floor,
        round_to=options.round_to,
        ignored_layers=tuple(options.ignored_layers),
        seed=options.seed,
    )


def main(arguments: list[str] | None = None) -> None:
    """Print the plan. UserError: the command line, the network and the budget do not fit together."""
    options = _parser().parse_args(arguments)
    spec = _spec(options)
    widths = tuple(options.widths) if options.widths else None
    model = ModelSpec(name=options.model, widths=widths, depth=options.depth)
    num_classes, input_CHW = _task(options)
    import torch

    from models import zoo

    torch.manual_seed(options.seed)
    planned = plan(zoo.build(model, num_classes=num_classes, input_CHW=input_CHW), input_CHW, spec)
    print(planned.to_json() if options.json else table(planned))


def _task(options: argparse.Namespace) -> tuple[int, tuple[int, int, int]]:
    """Return the classes and the image size, from the command line or else from the saved file."""
    if options.num_classes is not None and options.input is not None:
        channels, height, width = options.input
        return options.num_classes, (channels, height, width)
    if not options.model.endswith(".safetensors"):
        raise UsageError("--num_classes N and --input C H W are needed unless --model is a .safetensors file")
    from models.artefact import read_card

    card = read_card(options.model)
    return len(card.classes), card.input_CHW


def table(plan: PrunePlan) -> str:
    """Return the cuts, one to a line, then the widths of every layer before and after."""
    lines = [f"{'cut':>5} {'parameters':>15} {'MACs':>17} {'of the budget':>14}"]
    rows = [(0, plan.parameters, plan.macs), *((i, c.parameters, c.macs) for i, c in enumerate(plan.cuts, start=1))]
    for number, parameters, macs in rows:
        lines.append(f"{number:>5} {parameters:>15,} {macs:>17,} {plan.budget.used(parameters, macs):>13.2%}")
    longest = max(map(len, plan.widths))
    lines += ["", f"{'layer':<{longest}} {'before':>8} {'after':>8}"]
    lines += [f"{layer:<{longest}} {width:>8} {plan.final.widths[layer]:>8}" for layer, width in plan.widths.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    command(main)
