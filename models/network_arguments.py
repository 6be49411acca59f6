"""Command-line arguments that name a network and its task, for commands that take no config."""

from __future__ import annotations

import argparse

from configs.errors import UsageError
from models.spec import ModelSpec


def add(parser: argparse.ArgumentParser) -> None:
    """Add --model, --num_classes, --input, --widths and --depth."""
    parser.add_argument("--model", required=True, help="a network's name, or a saved .safetensors file")
    parser.add_argument("--num_classes", type=int, help="needed unless --model is a file")
    parser.add_argument("--input", type=int, nargs=3, metavar=("C", "H", "W"), help="channels, height, width; likewise")
    parser.add_argument("--widths", type=int, nargs="+", help="channels per stage or block")
    parser.add_argument("--depth", type=int, help="layers of resnet_small")


def spec(options: argparse.Namespace) -> ModelSpec:
    """Return the network that was named. UsageError: a setting that no network has."""
    widths = tuple(options.widths) if options.widths else None
    return ModelSpec(name=options.model, widths=widths, depth=options.depth)


def task(options: argparse.Namespace) -> tuple[int, tuple[int, int, int]]:
    """Return the number of classes and input_CHW, from the command line or else from the saved file.

    UsageError: neither says. InputError: the file cannot be read.
    """
    num_classes, size = options.num_classes, options.input
    if num_classes is None or size is None:
        if not options.model.endswith(".safetensors"):
            raise UsageError("--num_classes N and --input C H W are needed unless --model is a .safetensors file")
        from models.artefact import read_card  # torch is loaded only for a command line that holds

        card = read_card(options.model)
        num_classes = len(card.classes) if num_classes is None else num_classes
        size = card.input_CHW if size is None else size
    channels, height, width = size
    return num_classes, (channels, height, width)
