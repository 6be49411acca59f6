"""What a command need not be told: what is in a run's config.yaml, or in the header of a file. Free of torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors

from configs.arguments import last_value
from configs.errors import InputError
from configs.home import expand
from configs.shown import quote
from data_pipes.sources.layout import source_of
from train.run_folder.run_dir import RunDir

NOTHING_KNOWN = ("--data.source", "folder", "--data.image_size", "[1, 1]", "--data.mean", "[0.5]", "--data.std", "[1]")
"""Lets the config be read where neither a run nor a file is given, and say so itself."""


def with_own_config(given: Sequence[str]) -> list[str]:
    """Return a command's words, preceded by what they leave out unless --config is among them.

    With --run_dir, that is the run's config.yaml. Otherwise it is the size, crop and normalisation in the header of
    --weights (or of the run folder's own weights), and the source that fits the layout of --data.root.

    InputError: the run folder or the file is not there, or is not what it should be.
    """
    words = list(given)
    if last_value(words, "--config") or not {"-h", "--help"}.isdisjoint(words):
        return words
    folder, weights = last_value(words, "--run_dir"), last_value(words, "--weights")
    if folder and RunDir.at(folder).config.exists():
        return ["--config", str(RunDir.at(folder).config), *words]
    if folder and not RunDir.at(folder).weights.exists():
        found = "is empty or not a run's" if RunDir.at(folder).path.is_dir() else "does not exist"
        raise InputError(
            f"run_dir {folder} {found}: there is no config.yaml or model.safetensors in it; give the folder that a "
            "training wrote, or --weights FILE alone"
        )
    file = weights or (str(RunDir.at(folder).weights) if folder else None)
    return [*(NOTHING_KNOWN if file is None else _known(file, words)), *words]


def _known(weights: str, words: Sequence[str]) -> list[str]:
    card, root = _card(weights), last_value(words, "--data.root")
    source = source_of(expand(root)) if root else "folder"
    values = {"source": source, "image_size": list(card["input_CHW"])[1:], "eval_crop": card["eval_crop"]}
    values |= {"mean": list(card["mean"]), "std": list(card["std"])}
    return [
        word
        for key, value in values.items()
        for word in (f"--data.{key}", value if isinstance(value, str) else json.dumps(value))
    ]


def _card(weights: str) -> Mapping[str, Any]:
    """The card of a file. InputError: it is missing, or not one of ours."""
    path = Path(weights)
    if path.is_dir():
        raise InputError(
            f"weights {weights} is a folder; give a .safetensors file in it, or --run_dir {quote(weights)}"
        )
    if not path.is_file():
        raise InputError(f"there is no file {weights}; weights is a .safetensors file that a training wrote")
    try:
        with safetensors.safe_open(path, framework="np") as file:
            card = json.loads(file.metadata()["heartcut"])["card"]
        return {key: card[key] for key in ("input_CHW", "mean", "std", "eval_crop")}
    except (safetensors.SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError):
        from models import artefact  # says what is wrong with the file; it takes seconds to import

        read = artefact.read_card(path)
        return {"input_CHW": read.input_CHW, "mean": read.mean, "std": read.std, "eval_crop": read.eval_crop}
