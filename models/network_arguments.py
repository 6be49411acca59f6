"""Command-line arguments that name a network and its task, for commands that take no config."""

from __future__ import annotations

import argparse
from typing import Any

import yaml

from configs import yaml_text
from configs.arguments import Items
from configs.errors import UsageError
from models.own import registry
from models.spec import ModelSpec, names_file


def add(parser: argparse.ArgumentParser) -> None:
    """Add --model, --num_classes, --input, --widths and --depth."""
    meaning = "a network's name, my_net.py:StudentNet, a saved .safetensors file or a state dict"
    parser.add_argument("--model", required=True, help=meaning)
    parser.add_argument("--num_classes", type=int, help="needed unless --model is a file")
    parser.add_argument(
        "--input", action=Items, kind=int, count=3, metavar="C H W", help="channels, height, width; likewise"
    )
    parser.add_argument("--widths", action=Items, kind=int, metavar="N ...", help="channels per stage or block")
    parser.add_argument("--depth", type=int, help="layers of resnet_small and resnet_cifar")
    parser.add_argument(
        "--stem", choices=("auto", "keep", "small"), default="auto", help="first layers of torchvision's and timm's"
    )
    parser.add_argument("--kwargs", type=_mapping, default={}, help="of my_net.py:StudentNet, such as '{width: 16}'")
    add_code(parser)


def add_code(parser: argparse.ArgumentParser) -> None:
    """Add --network."""
    meaning = "PATH/my_net.py:StudentNet: your own code that a saved file needs; may be given again"
    parser.add_argument("--network", action="append", default=[], metavar="FILE:CLASS", help=meaning)


def register_code(options: argparse.Namespace) -> None:
    """Register the code that --network names. UsageError: it names none, or there is no such file."""
    registry.register(tuple(options.network))


def _mapping(text: str) -> dict[str, Any]:
    node = yaml_text.from_flag(text)
    if not isinstance(node, yaml.MappingNode):
        raise argparse.ArgumentTypeError(f"{text} is not a mapping; expected {{width: 16}}")
    return dict(yaml_text.plain(node))


def spec(options: argparse.Namespace) -> ModelSpec:
    """Return the network that was named; its own code is registered. UsageError: a setting that no network has."""
    register_code(options)
    widths = tuple(options.widths) if options.widths else None
    return ModelSpec(name=options.model, widths=widths, depth=options.depth, stem=options.stem, kwargs=options.kwargs)


def task(options: argparse.Namespace) -> tuple[int, tuple[int, int, int]]:
    """Return the number of classes and input_CHW, from the command line or else from the saved file.

    UsageError: neither says. InputError: the file cannot be read.
    """
    num_classes, size = options.num_classes, options.input
    if num_classes is None or size is None:
        found_classes, found_size = _in_file(options.model, size)
        num_classes = found_classes if num_classes is None else num_classes
        size = found_size if size is None else size
    channels, height, width = size
    return num_classes, (channels, height, width)


def _in_file(name: str, size: list[int] | None) -> tuple[int, tuple[int, ...]]:
    if not names_file(name):
        raise UsageError("--num_classes N and --input C H W are needed unless --model is a .safetensors file")
    from models.adopt import candidates, weight_file  # torch is loaded only for a command line that holds
    from models.artefact import read_card

    if weight_file.is_ours(name):
        card = read_card(name)
        return len(card.classes), card.input_CHW
    if size is None:
        raise UsageError(f"--input C H W is needed: {name} does not tell the size of its images")
    return candidates.num_classes(weight_file.read(name).tensors), tuple(size)
