"""What a finished run or chain has reached, as result.json holds it. Free of torch."""

from __future__ import annotations

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
