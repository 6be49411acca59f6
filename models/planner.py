"""The cuts that a budget takes, on the command line: in seconds, without training.

python -m models.planner --model resnet_small --num_classes 10 --input 1 28 28 --budget 100000 --steps 30
"""

from __future__ import annotations

import argparse

from configs.arguments import Items, Parser
from configs.errors import UsageError
from configs.reader import command
from models import network_arguments
from models.pruning.spec import IMPORTANCES, RANKINGS, Budget, PruneSpec


def main(arguments: list[str] | None = None) -> None:
    """Print the plan. UserError: the command line, the network and the budget do not fit together."""
    options = _parser().parse_args(arguments)
    spec = _spec(options)
    model = network_arguments.spec(options)
    num_classes, input_CHW = network_arguments.task(options)
    import torch  # only for a command line that holds

    from models import zoo
    from models.pruning import planner

    torch.manual_seed(options.seed)
    plan = planner.plan(zoo.build(model, num_classes=num_classes, input_CHW=input_CHW), input_CHW, spec)
    print(plan.to_json() if options.json else plan.table())


def _parser() -> argparse.ArgumentParser:
    defaults = {key: field.default for key, field in PruneSpec.__dataclass_fields__.items()}
    parser = Parser(prog="python -m models.planner", description="Plan the cuts of a network, without training.")
    network_arguments.add(parser)
    parser.add_argument("--budget", type=int, help="parameters in the end; this, --macs_budget or both")
    parser.add_argument("--macs_budget", type=int, help="multiply-accumulates of one image in the end")
    parser.add_argument("--steps", type=int, default=defaults["steps"], help="number of cuts (%(default)s)")
    parser.add_argument("--importance", default=defaults["importance"], choices=IMPORTANCES, help="(%(default)s)")
    parser.add_argument("--ranking", default=defaults["ranking"], choices=RANKINGS, help="(%(default)s)")
    parser.add_argument("--cost_normalised", action="store_true", help="compare importance per saved cost")
    parser.add_argument("--floor", type=float, default=defaults["floor"], help="share of a width that stays")
    parser.add_argument("--round_to", type=int, default=defaults["round_to"], help="widths are multiples of this")
    parser.add_argument(
        "--ignored_layers", action=Items, kind=str, default=(), help="layers or blocks that keep their outputs"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the network's weights and of importance random")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    return parser


def _spec(options: argparse.Namespace) -> PruneSpec:
    spec = PruneSpec(
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
    if spec.needs_gradients:
        raise UsageError(
            f"--importance {spec.importance} needs gradients, which a plan without training does not have; use l2"
        )
    return spec


if __name__ == "__main__":
    command(main)
