"""Export a saved network to one ONNX file, check it against torch, and time it, alone or beside another network.

python -m models.export --model student.safetensors --output student.onnx --against teacher.safetensors
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

from configs import reader
from configs.arguments import Parser
from configs.errors import UsageError, UserError

EXTRA = ("onnx", "onnxscript", "onnxruntime")


def main(arguments: list[str] | None = None) -> int:
    """Write the file and print its cost; return the exit status."""
    try:
        _run(_checked(_parser().parse_args(arguments)))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m models.export",
        description="Write a saved network as one ONNX file, check its outputs against torch, and time both.",
    )
    parser.add_argument("--model", required=True, metavar="FILE.safetensors", help="the saved network")
    parser.add_argument("--output", required=True, metavar="FILE.onnx", help="the file to write")
    parser.add_argument(
        "--against", metavar="FILE.safetensors", help="another network to compare costs and latency with"
    )
    parser.add_argument("--device", default="cpu", help="where torch is timed: cpu (default), cuda, cuda:1")
    parser.add_argument("--rounds", type=int, default=20, help="rounds of timing, at least 2 (default 20)")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    return parser


def _checked(options: argparse.Namespace) -> argparse.Namespace:
    """Check the options before torch is loaded."""
    if not options.output.endswith(".onnx") or Path(options.output).is_dir():
        raise UsageError(f"--output is {options.output}; it must be a file that ends in .onnx")
    if options.rounds < 2:
        raise UsageError(f"--rounds is {options.rounds}; a spread needs at least 2")
    missing = [name for name in EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"{', '.join(missing)} not installed; pip install 'heartcut[export]'")
    return options


def _run(options: argparse.Namespace) -> None:
    from models.export import side_by_side  # torch is loaded only for a command line that holds

    report = side_by_side.run(
        options.model, options.output, against=options.against, device=options.device, rounds=options.rounds
    )
    report.write(as_json=options.json)


if __name__ == "__main__":
    reader.command(lambda: sys.exit(main()))
