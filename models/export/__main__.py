"""Export a saved network to one ONNX file, or to plain PyTorch, checked against the network itself.

ONNX is timed too, alone or beside another network.

python -m models.export --model student.safetensors --output student.onnx --against teacher.safetensors
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from dataclasses import asdict
from pathlib import Path

from configs import reader
from configs.arguments import Parser
from configs.errors import UsageError
from configs.shown import printable
from models import network_arguments
from models.card import options as card_options

EXTRA = ("onnx", "onnxscript", "onnxruntime")


def main(arguments: list[str] | None = None) -> int:
    """Write the file and print its cost; return the exit status."""
    return reader.status(lambda: _run(_checked(_parser().parse_args(arguments))))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m models.export",
        description="Write a saved network as one ONNX file, check its outputs against torch, and time both; or write "
        "it out as plain PyTorch that needs nothing of this project.",
    )
    parser.add_argument("--model", required=True, metavar="FILE.safetensors", help="the saved network")
    parser.add_argument(
        "--output", required=True, metavar="FILE", help="FILE.onnx; or FILE.py, beside which is FILE.pt"
    )
    meaning = "onnx (default), or pytorch: source and a state dict"
    parser.add_argument("--format", choices=("onnx", "pytorch"), default="onnx", help=meaning)
    parser.add_argument(
        "--against", metavar="FILE.safetensors", help="another network to compare costs and latency with"
    )
    parser.add_argument(
        "--uint8_input",
        action="store_true",
        help="put the normalisation inside the ONNX file, which then takes uint8 N x H x W x C (RGB or grey, 0 to 255) "
        "rather than normalised float32 N x C x H x W",
    )
    parser.add_argument(
        "--card", action="store_true", help="write a model card, README.md, beside the exported file (see models.card)"
    )
    card_options.add_license(parser)
    network_arguments.add_code(parser)
    parser.add_argument("--device", default="cpu", help="where torch is timed: cpu (default), cuda, cuda:1")
    parser.add_argument("--rounds", type=int, default=20, help="rounds of timing, at least 2 (default 20)")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    return parser


def _checked(options: argparse.Namespace) -> argparse.Namespace:
    """Check the options before torch is loaded."""
    options.license = card_options.require_license(options.license)
    if options.license and not options.card:
        raise UsageError("--license is written into the model card; give --card too")
    ending = ".onnx" if options.format == "onnx" else ".py"
    if not options.output.endswith(ending) or Path(options.output).is_dir():
        raise UsageError(f"--output is {options.output}; for --format {options.format} it must end in {ending}")
    if options.format == "pytorch":
        if options.against:
            raise UsageError("--against times ONNX files; leave it out with --format pytorch")
        if options.uint8_input:
            raise UsageError("--uint8_input is for ONNX files; leave it out with --format pytorch")
        return options
    if options.rounds < 2:
        raise UsageError(f"--rounds is {options.rounds}; a spread needs at least 2")
    missing = [name for name in EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"{', '.join(missing)} not installed: pip install {' '.join(missing)}")
    return options


def _run(options: argparse.Namespace) -> None:
    network_arguments.register_code(options)
    folder = Path(options.output).parent
    if options.card:
        from models.card import readme

        readme.require_free(folder / readme.NAME)
    if options.format == "pytorch":
        _write_pytorch(options)
    else:
        _write_onnx(options)
    if options.card:
        written = readme.write(Path(options.model), folder, license_id=options.license)
        print(printable(f"written: {written}"), file=sys.stderr if options.json else sys.stdout)


def _write_onnx(options: argparse.Namespace) -> None:
    from models.export import side_by_side  # torch is loaded only for a command line that holds

    report = side_by_side.run(
        options.model,
        options.output,
        against=options.against,
        device=options.device,
        rounds=options.rounds,
        uint8_input=options.uint8_input,
    )
    report.write(as_json=options.json)


def _write_pytorch(options: argparse.Namespace) -> None:
    from models import artefact, state_dicts  # torch is loaded only for a command line that holds
    from models.export import pytorch_file

    net, card = artefact.load(options.model)
    state_dicts.require_finite(net, options.model)
    written = pytorch_file.export(net, card, options.output, artefact_sha256=artefact.sha256(options.model))
    weights = str(Path(options.output).with_suffix(".pt"))
    if options.json:
        print(json.dumps({"output": options.output, "weights": weights, **asdict(written.cost)}))
        return
    print(f"{written.cost.parameters:,} parameters, {written.cost.nonzero:,} of them not zero")
    print("its logits are the network's bit for bit, in a process without Heartcut, timm and torchvision")
    print(f"written: {options.output} and {weights}")


if __name__ == "__main__":
    reader.command(lambda: sys.exit(main()))
