"""The cost of a network, on the command line.

python -m models.cost --model depthwise_v2 --num_classes 11 --input 3 224 224
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from configs import reader
from configs.arguments import Parser
from models import network_arguments


def main(arguments: list[str] | None = None) -> int:
    """Print the cost of a network; return the exit status."""
    return reader.status(lambda: _print_cost(_parser().parse_args(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m models.cost", description="Count parameters, non-zero parameters, MACs and bytes.")
    network_arguments.add(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    return parser


def _print_cost(options: argparse.Namespace) -> None:
    spec = network_arguments.spec(options)
    num_classes, input_CHW = network_arguments.task(options)
    from models import counting, zoo  # torch is loaded only for a command line that holds

    module = zoo.build(spec, num_classes=num_classes, input_CHW=input_CHW)
    cost = counting.measure(module, input_CHW)
    if options.json:
        print(json.dumps(asdict(cost)))
        return
    print(counting.table(module, input_CHW))
    if (masked := counting.masked(module)) is not None:
        print("\nWithout the weights that are zero:")
        print(counting.table(masked, input_CHW))
    print(f"dense parameters     {cost.parameters:>15,}")
    print(f"non-zero parameters  {cost.nonzero:>15,}")
    print(f"MACs per image       {cost.macs:>15,}   (convolutions and matrix products)")
    print(f"bytes                {cost.bytes:>15,}   (parameters and buffers)")


if __name__ == "__main__":
    reader.command(lambda: sys.exit(main()))
