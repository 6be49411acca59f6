"""What a network costs, on the command line.

python -m models.cost --model depthwise_v2 --num_classes 11 --input 3 224 224
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from configs import reader
from configs.arguments import Parser
from configs.errors import UsageError, UserError
from models.spec import ModelSpec


def main(arguments: list[str] | None = None) -> int:
    """Print the cost of a network; return the exit status."""
    try:
        options = _parser().parse_args(arguments)
        _print_cost(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m models.cost", description="Count parameters, non-zero parameters, MACs and bytes.")
    parser.add_argument("--model", required=True, help="a network's name, or a saved .safetensors file")
    parser.add_argument("--num_classes", type=int, help="needed unless --model is a file")
    parser.add_argument("--input", type=int, nargs=3, metavar=("C", "H", "W"), help="channels, height, width; likewise")
    parser.add_argument("--widths", type=int, nargs="+", help="channels per stage or block")
    parser.add_argument("--depth", type=int, help="layers of resnet_small")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    return parser


def _print_cost(options: argparse.Namespace) -> None:
    widths = tuple(options.widths) if options.widths else None
    spec = ModelSpec(name=options.model, widths=widths, depth=options.depth)
    num_classes, input_CHW = _task(options)
    from models import counting, zoo  # torch is loaded only for a command line that holds

    module = zoo.build(spec, num_classes=num_classes, input_CHW=input_CHW)
    cost = counting.measure(module, input_CHW)
    if options.json:
        print(json.dumps(asdict(cost)))
        return
    print(counting.table(module, input_CHW))
    print(f"dense parameters     {cost.parameters:>15,}")
    print(f"non-zero parameters  {cost.nonzero:>15,}")
    print(f"MACs per image       {cost.macs:>15,}   (convolutions and matrix products)")
    print(f"bytes                {cost.bytes:>15,}   (parameters and buffers)")


def _task(options: argparse.Namespace) -> tuple[int, tuple[int, int, int]]:
    """Return the classes and the image size, from the command line or else from the saved file."""
    num_classes, size = options.num_classes, options.input
    if num_classes is None or size is None:
        if not options.model.endswith(".safetensors"):
            raise UsageError("--num_classes N and --input C H W are needed unless --model is a .safetensors file")
        from models.artefact import read_card

        card = read_card(options.model)
        num_classes = len(card.classes) if num_classes is None else num_classes
        size = card.input_CHW if size is None else size
    channels, height, width = size
    return num_classes, (channels, height, width)


if __name__ == "__main__":
    reader.command(lambda: sys.exit(main()))
