"""Write a model card beside a saved network: README.md with metadata that the Hugging Face hub reads.

python -m models.card --model runs/flowers/student
"""

from __future__ import annotations

from pathlib import Path

from configs import reader
from configs.arguments import Parser
from models.card import options

DESCRIPTION = (
    "Write README.md beside a saved network: what it is, how it is loaded, classes, input, costs, scores with "
    "intervals, origin and limits, from its header alone."
)


def main(words: list[str] | None = None) -> None:
    """Write the card, and say where it is. UserError: there is no such file, or a README.md of somebody else."""
    parser = Parser(prog="python -m models.card", description=DESCRIPTION)
    parser.add_argument("--model", required=True, metavar="FILE|FOLDER", help="the saved network, or its run folder")
    parser.add_argument("--output", metavar="FOLDER", help="where README.md is written (default: beside the network)")
    options.add_license(parser)
    asked = parser.parse_args(words)
    license_id, weights = options.require_license(asked.license), options.weights_file(asked.model)
    from models.card import readme  # torch is loaded only for a command line that holds

    folder = weights.parent if asked.output is None else Path(asked.output)
    print(f"written: {readme.write(weights, folder, license_id=license_id)}")


if __name__ == "__main__":
    reader.command(main)
