"""Files of a run folder, read while a run writes them, after it was killed, or when damaged. Free of torch.

Nothing raises: a missing or damaged file counts as empty.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from configs.files import read_regular

TAIL = 65_536
"""Bytes read from the end of metrics.jsonl."""
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster


def yaml_mapping(path: Path) -> dict[str, Any]:
    """A YAML mapping; empty if it cannot be read."""
    try:
        found = yaml.load(read_regular(path).decode(), _Loader)
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def planned_epochs(config: Path) -> int | None:
    """The key epochs of a config, found without parsing the file, which takes milliseconds."""
    try:
        found = re.search(r"^epochs: (\d{1,9})$", read_regular(config).decode(errors="replace"), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) if found else None


def last_records(path: Path) -> Iterator[dict[str, Any]]:
    """The last records of metrics.jsonl; incomplete lines are skipped."""
    try:
        if not path.is_file():
            return
        with path.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - TAIL, 0))
            lines = file.read().splitlines()
    except OSError:
        return
    for line in lines:
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            yield found


def number(values: Mapping[str, Any], key: str) -> float | None:
    """A finite number; None if there is none."""
    value = values.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not -1e300 < value < 1e300:
        return None
    return float(value)


def count(values: Mapping[str, Any], key: str) -> int | None:
    """A whole number from 0 to 2^63; None if there is none."""
    value = values.get(key)
    return value if type(value) is int and 0 <= value <= 2**63 else None
