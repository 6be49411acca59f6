"""README.md for a saved network, from its header alone: what it is, how it is used, its scores, what nobody checked."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any

from huggingface_hub import ModelCard
from yaml import YAMLError

from configs.errors import InputError
from configs.figures import percent
from configs.files import read_regular, write_atomically
from models import artefact
from models.artefact import Card
from models.card import beside as beside_files
from models.card import facts, hub_data, markdown
from models.card.beside import Beside
from models.card.template import TEMPLATE
from models.export import preparation
from models.own.code import is_code

NAME = "README.md"


def write(weights: Path, folder: Path, *, license_id: str | None = None) -> Path:
    """Write the card of a saved network into a folder, with the exports of it that are there; return its path.

    InputError: the file cannot be read, or the folder has a README.md that is no model card of ours.
    """
    path = folder / NAME
    require_free(path)
    sha256 = artefact.sha256(weights)
    found = beside_files.find(folder, sha256, weights=weights)
    text = build(artefact.read_card(weights), sha256, found, license_id=license_id)
    try:
        write_atomically(path, text)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
    return path


def require_free(path: Path) -> None:
    """InputError if there is a file that is no model card of ours: it would be lost."""
    if path.exists() and not is_ours(path):
        raise InputError(
            f"{path} is there already and is no model card of Heartcut; move it, or write to another folder"
        )


def is_ours(path: Path) -> bool:
    """Whether a file is a model card of ours. InputError: it cannot be read."""
    try:
        text = read_regular(path).decode("utf-8", "replace")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    head = text.removeprefix("\ufeff").replace("\r\n", "\n").partition("\n---\n")[0]
    return head.startswith("---\n") and f"library_name: {hub_data.LIBRARY}" in head.split("\n")


def license_of(path: Path) -> str | None:
    """Return the licence that a card of ours states; None: it states none, or there is no such card."""
    if not path.is_file() or not is_ours(path):
        return None
    try:
        stated = ModelCard.load(path).data.license
    except (ValueError, YAMLError) as error:
        raise InputError(f"the metadata of {path} are damaged ({error}); write it again with models.card") from error
    return None if stated is None else str(stated)


def build(card: Card, sha256: str, beside: Beside, *, repo: str | None = None, license_id: str | None = None) -> str:
    """Return the text of a card.

    sha256: that of the file. repo: owner/name on the hub, where the file is going. The text depends on nothing else.
    """
    title = f"{card.model.name}, {len(card.classes)} classes"
    data = hub_data.build(card, title if repo is None else repo.rpartition("/")[2], beside, license_id)
    shown = ModelCard.from_template(data, template_str=TEMPLATE, **_fields(card, sha256, beside, repo, title))
    return str(shown).rstrip() + "\n"


def _fields(card: Card, sha256: str, beside: Beside, repo: str | None, title: str) -> dict[str, Any]:
    channels, height, width = card.input_CHW
    return {
        "title": markdown.text(title),
        "description": facts.description(card),
        "figures": facts.figures(card),
        "scores": [_score(split, score) for split, score in card.scores.items()],
        "load": _load(card, beside, repo),
        "onnx": [_onnx(file) for file in beside.onnx] if channels in preparation.COLOURS else [],
        "mode": "L" if channels == 1 else "RGB",
        "height": height,
        "width": width,
        "eval_crop": repr(card.eval_crop),
        "mean": list(card.mean),
        "std": list(card.std),
        "sources": [_source(name) for name in beside.sources],
        "steps": preparation.steps(card),
        "classes": [markdown.text(name) for name in card.classes],
        "limits": facts.limits(card),
        "origin": facts.origin(card, sha256),
    }


def _score(split: str, score: artefact.Score) -> list[str]:
    low, high = score.interval
    return [
        markdown.text(split),
        percent(score.accuracy),
        f"{percent(low)} to {percent(high)}",
        f"{score.correct:,}",
        f"{score.total:,}",
    ]


def _load(card: Card, beside: Beside, repo: str | None) -> str | None:
    """Return the arguments of heartcut.load; None where the file is elsewhere."""
    if beside.weights is None:
        return None
    usual = beside.weights == "model.safetensors"
    name = f"hf-hub:{repo}" if repo is not None and usual else beside.weights
    code = f", network={markdown.literal(card.model.name)}" if is_code(card.model.name) else ""
    return markdown.literal(name) + code


def _onnx(file: beside_files.Onnx) -> dict[str, Any]:
    return {"shown": markdown.text(file.name), "literal": markdown.literal(file.name), "uint8_input": file.uint8_input}


def _source(name: str) -> dict[str, str]:
    stem = PurePath(name).stem
    return {"shown": markdown.text(name), "module": markdown.literal(stem), "weights": markdown.literal(f"{stem}.pt")}
