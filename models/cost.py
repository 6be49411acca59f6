"""What a network costs: parameters, non-zero parameters, multiply-accumulates, bytes.

python -m models.cost --model depthwise_v2 --num_classes 11 --input 3 224 224
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, NoReturn

from configs.errors import InputError, UsageError, UserError
from models.spec import ModelSpec

if TYPE_CHECKING:  # torch is imported where it is used: --help answers at once
    from torch import nn


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Four numbers that papers confuse; always all of them, always by name."""

    parameters: int
    """Entries of all parameters, zero or not."""
    nonzero: int
    """Entries of the parameters that are not zero."""
    macs: int
    """Multiply-accumulates of convolutions and matrix products, for one image."""
    bytes: int
    """Parameters and buffers as the state dict stores them."""


def measure(module: nn.Module, input_CHW: tuple[int, int, int]) -> Cost:
    """Count the cost of one image of shape `input_CHW`; the module is not touched, on whatever device it lies.

    InputError: the module does not take such an image.
    """
    parameters = list(module.parameters())
    state = module.state_dict()
    return Cost(
        parameters=sum(parameter.numel() for parameter in parameters),
        nonzero=sum(int(parameter.detach().count_nonzero()) for parameter in parameters),
        macs=_macs(module, input_CHW),
        bytes=sum(tensor.numel() * tensor.element_size() for tensor in state.values()),
    )


def _macs(module: nn.Module, input_CHW: tuple[int, int, int]) -> int:
    import copy

    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    # A copy without data: nothing is computed, and no mode, statistic, random state or device can change.
    twin = copy.deepcopy(module).to("meta").eval()
    dtype = next((p.dtype for p in twin.parameters() if p.is_floating_point()), torch.float32)
    image_BCHW = torch.empty(1, *input_CHW, device="meta", dtype=dtype)
    # The plain attention kernel is made of matrix products on every device; fused ones are counted only on some.
    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
            twin(image_BCHW)
    except (RuntimeError, ValueError, AssertionError) as error:
        size = " x ".join(map(str, input_CHW))
        raise InputError(f"the network does not take an image of {size}: {error}") from error
    return int(counter.get_total_flops()) // 2


def table(module: nn.Module, input_CHW: tuple[int, int, int]) -> str:
    """Return torchinfo's layer table for one image. Its mult-adds add biases and BatchNorm; ours do not."""
    import torchinfo

    text = str(torchinfo.summary(module, input_size=(1, *input_CHW), depth=4, verbose=0, device="cpu"))
    return re.sub(r"Units\.(\w)\w*", r"\1", text)  # torchinfo 1.8 prints its enum's name since Python 3.11


def main(arguments: list[str] | None = None) -> int:
    """Print the cost of a network; return the exit status."""
    try:
        options = _parser().parse_args(arguments)
        _print_cost(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


class _Parser(argparse.ArgumentParser):
    """Report a wrong command line as every other error of the user."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see python -m models.cost --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m models.cost", description="Count parameters, non-zero parameters, MACs and bytes.")
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
    from models import zoo

    module = zoo.build(spec, num_classes=num_classes, input_CHW=input_CHW)
    cost = measure(module, input_CHW)
    if options.json:
        print(json.dumps(asdict(cost)))
        return
    print(table(module, input_CHW))
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
    sys.exit(main())
