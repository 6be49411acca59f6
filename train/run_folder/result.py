"""What a finished run or chain has reached, as result.json holds it. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from configs import records

NAME = "result.json"
FIELDS = {
    "accuracy": float,
    "accuracy_split": Literal["validation", "test"],
    "accuracy_interval_95": tuple[float, float],
    "accuracy_samples": int,
    "validation_accuracy": float,
    "epochs": int,
    "model": str,
    "parameters": int,
    "macs": int,
    "seconds": float,
}
"""Fields that are read again, with their types; there are more."""


def read(folder: Path) -> dict[str, Any]:
    """Return the result of a finished run. InputError: it is missing or damaged."""
    return records.typed(folder / NAME, records.from_json(folder / NAME), FIELDS)


def passes(reached: Mapping[str, Any]) -> float:
    """How often a run or chain has shown the training split: short epochs count by their share."""
    return float(reached.get("passes", reached["epochs"]))  # before epochs could be short


def measured_on(config: Mapping[str, Any], reached: Mapping[str, Any]) -> dict[str, Any]:
    """Return what says which images the accuracy of a run is of; equal for runs that can be compared.

    It is the data section without augmentation, which evaluation does not have, the split and its size.
    """
    data = config.get("data")
    known = {key: value for key, value in data.items() if key != "augment"} if isinstance(data, dict) else {}
    return known | {key: reached.get(key) for key in ("accuracy_split", "accuracy_samples")}
