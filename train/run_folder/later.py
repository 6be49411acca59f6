"""Config keys that are newer than some runs: configs of before and after them can be compared. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LATER: dict[str, Any] = {
    **{"distill.teacher_size": "student", "data.class_depth": 1, "data.follow_links": False, "deterministic": False},
    **{f"{section}.kwargs": {} for section in ("model", "student", "student.model", "teacher_training.model")},
    **{f"{section}epoch_share": 1.0 for section in ("", "teacher_training.", "student.", "cut.")},
}
"""The behaviour of the runs that do not have them."""
ABSENT = object()


def known(config: Mapping[str, Any], key: str, prefix: str) -> Any:
    """Return the value of a key, below `prefix`, in a config that may be older than it; None: it is not there."""
    return config.get(key, LATER.get(f"{prefix}{key}"))


def without_later(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Leave out newer keys whose value is the behaviour of earlier runs: equal for runs of before and after them."""
    kept = {key: value for key, value in config.items() if LATER.get(f"{prefix}{key}", ABSENT) != value}
    return {
        key: without_later(value, f"{prefix}{key}.") if isinstance(value, Mapping) else value
        for key, value in kept.items()
    }
