"""Make one file of several networks, which answers with the mean of their probabilities.

python -m models.ensemble a.safetensors b.safetensors --output teacher.safetensors

It is evaluated, distilled and exported as any other file.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from configs import reader
from configs.arguments import Parser
from configs.errors import UsageError
from configs.shown import printable

if TYPE_CHECKING:
    from models.artefact import Card

EQUAL = ("classes", "input_CHW", "mean", "std", "eval_crop")
"""What all members must have in common."""


def main(arguments: list[str] | None = None) -> int:
    """Write the file; return the exit status."""
    return reader.status(lambda: _run(_parser().parse_args(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m models.ensemble", description="Make one file of several networks.")
    parser.add_argument("files", nargs="+", metavar="FILE", help="the .safetensors files of the members")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the .safetensors file to write")
    return parser


def _run(options: argparse.Namespace) -> None:
    files: list[str] = options.files
    output: Path = options.output
    if output.suffix != ".safetensors":
        raise UsageError(f"--output is {output}; it must end with .safetensors")
    if output.exists():
        raise UsageError(f"--output {output} is there already; choose another name, or remove it")
    from models import artefact, counting  # torch is loaded only for a command line that holds
    from models.networks import ensemble

    found = [artefact.load(file) for file in files]
    cards = [card for _, card in found]
    for file, card in zip(files, cards, strict=True):
        _require_equal(files[0], cards[0], file, card)
    made, first = ensemble.Ensemble([net for net, _ in found]).eval(), cards[0]
    card = artefact.Card(
        model=ensemble.spec([card.model for card in cards]),
        cost=counting.measure(made, first.input_CHW),
        lineage={"members": ",".join(map(artefact.sha256, files)), **_trained_on(cards)},
        pruned=any(card.pruned for card in cards),
        **{key: getattr(first, key) for key in EQUAL},
    )
    artefact.save(output, made, card)
    print(printable(f"{output}: {len(files)} networks, {card.cost.parameters:,} parameters, {card.cost.macs:,} MACs"))


def _trained_on(cards: list[Card]) -> dict[str, str]:
    """Return the fingerprints of all training images, and the data source where it is one, as far as members tell."""
    told = {key: {str(card.lineage[key]): None for card in cards if key in card.lineage} for key in ("source", "data")}
    return {key: ",".join(values) for key, values in told.items() if len(values) == 1 or (key == "data" and values)}


def _require_equal(first: str, card: Card, file: str, other: Card) -> None:
    """UsageError unless both see the same images and tell the same classes apart."""
    for key in EQUAL:
        one, two = getattr(card, key), getattr(other, key)
        if one != two:
            raise UsageError(f"{key} of {file} is {two}, and of {first} {one}: members must have it in common")


if __name__ == "__main__":
    reader.command(lambda: sys.exit(main()))
