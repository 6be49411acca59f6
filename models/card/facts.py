"""What a card says of a network in words, from its header alone. Everything returned is Markdown."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath

from configs.figures import counted, percent
from configs.release import version
from models.artefact import Card
from models.card import hub_data
from models.card.markdown import text
from models.export import preparation

LABELS = {
    "stage": "stage",
    "source": "data source",
    "data": "fingerprint of the training images",
    "teacher": "teacher",
    "teacher_sha256": "SHA-256 of the teacher",
    "cut_from": "SHA-256 of the network before the last cut",
    "adopted_from": "adopted from",
    "adopted_sha256": "SHA-256 of what it was adopted from",
    "extended": "extended",
    "commit": "commit of Heartcut",
}
"""Entries of a lineage that are shown, in this order."""


def description(card: Card) -> str:
    """Return a sentence or two."""
    channels, height, width = card.input_CHW
    colours = preparation.COLOURS.get(channels, f"{channels} channels")
    zeros = percent(1 - card.cost.nonzero / card.cost.parameters, 1)
    made = [
        *(["distilled from a teacher"] if "teacher_sha256" in card.lineage else []),
        *(["channels were cut"] if card.pruned else []),
        *([f"{zeros} of its parameters are zero"] if hub_data.masked(card) else []),
    ]
    how = f" ({', '.join(made)})" if made else ""
    return (
        f"An image classifier of {counted(len(card.classes), 'class')} for images of {height} x {width} pixels "
        f"(height x width, {colours}): {text(card.model.name)} with {card.cost.parameters:,} parameters{how}."
    )


def figures(card: Card) -> list[tuple[str, str]]:
    """Return counts, each with its name."""
    cost = card.cost
    return [
        ("parameters", f"{cost.parameters:,}"),
        ("non-zero parameters", f"{cost.nonzero:,}"),
        ("MACs per image", f"{cost.macs:,}"),
        ("bytes of parameters and buffers", f"{cost.bytes:,}"),
    ]


def limits(card: Card) -> list[str]:
    """Return what nobody checked, and what the numbers do not say."""
    adopted = card.lineage.get("stage") == "adopt"
    found = [
        "The weights come from elsewhere; what they were trained on is not recorded in the file."
        if adopted and "data" not in card.lineage
        else f"Trained on {hub_data.data_name(card)}. What it does with other images, such as those of another camera, "
        "place or time, was not measured.",
        "It always answers with one of its classes, also for images of something else.",
    ]
    if not adopted:
        found.append("One training run with one seed: the intervals do not contain what another seed would change.")
    if not adopted and "validation" in card.scores:
        found.append("The epoch was chosen on the validation images, so accuracy on them is optimistic.")
    if "test" not in card.scores:
        found.append("There is no accuracy on a test split, on which nothing was chosen.")
    if hub_data.masked(card):
        found.append("Its zeros save space in the file; common runtimes compute with them at the same speed.")
    return found


def origin(card: Card, sha256: str) -> list[tuple[str, str]]:
    """Return the lineage, and the versions and hashes that belong to it. Of files, names without folders."""
    told = {key: str(card.lineage[key]) for key in LABELS if key in card.lineage}
    if "teacher" in told:
        told["teacher"] = file_name(told["teacher"])
    rows = [(LABELS[key], text(value)) for key, value in told.items()]
    if card.code_sha256 is not None:
        rows.append((f"SHA-256 of the code of {text(card.model.name)}", card.code_sha256))
    return [*rows, ("SHA-256 of the file", sha256), ("card written by", f"Heartcut {text(version())}")]


def file_name(path: str) -> str:
    """Return the last part of a path of any system."""
    return PureWindowsPath(PurePosixPath(path).name).name
