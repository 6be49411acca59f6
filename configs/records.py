"""Files that our commands write and read again. People edit, copy and cut them short, so that what is read is checked.

All raise InputError, which names the file and what is wrong with it, where it is missing, damaged or of another shape.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from configs import yaml_text
from configs.errors import InputError, UsageError
from configs.files import read_regular
from configs.schema import describe
from configs.values import coerce

T = TypeVar("T")
LARGEST = 2**63


def from_json(path: Path) -> Any:
    """Return the value that a JSON file holds."""
    try:
        return json.loads(read_regular(path).decode())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged: it is not JSON ({error})") from error


def from_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping that a YAML file of ours holds; as in configs, aliases and tags are refused."""
    try:
        found = yaml_text.plain(yaml_text.load(str(path)))
    except UsageError as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    assert isinstance(found, dict)
    return found


def typed(path: Path, found: Any, hints: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping whose keys in `hints` are there and have these types; other keys stay as they are."""
    if not isinstance(found, dict):
        raise InputError(f"{path} is damaged: it holds {type(found).__name__} where a mapping of keys is right")
    return found | {key: _value(path, found, key, hint) for key, hint in hints.items()}


def record(cls: type[T], path: Path, found: Any) -> T:
    """Return a dataclass made of a mapping with exactly its fields."""
    hints = get_type_hints(cls)
    names = {declared.name for declared in fields(cls)}  # type: ignore[arg-type]
    values = typed(path, found, {name: hints[name] for name in names})
    if unknown := sorted(values.keys() - names):
        raise InputError(f"{path} is damaged: nothing is known of {', '.join(map(repr, unknown))}")
    return cls(**values)


def _value(path: Path, found: Mapping[str, Any], key: str, hint: Any) -> Any:
    if key not in found:
        raise InputError(f"{path} is damaged: it has no {key}")
    try:
        value = coerce(hint, found[key])
        if isinstance(value, int | float) and not abs(value) < LARGEST:  # NaN neither
            raise ValueError(value)
        return value
    except ValueError:
        raise InputError(f"{path} is damaged: {key} is {found[key]!r:.60}; {describe(hint)} is right") from None
