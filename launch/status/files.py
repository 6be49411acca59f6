"""Files of a run folder, read from outside while a run writes them, after it was killed, or when they are damaged.

What is not there says nothing, what cannot be read is named, and nothing raises. Free of torch.
"""

from __future__ import annotations

import json
import os
import platform
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from configs import locks

TAIL = 65_536
"""Bytes of metrics.jsonl that are read."""
QUIET = 900
"""Seconds. After so long without a sign of life, a run on another host whose lock is free is gone: there are file
systems on which a lock is seen on its own host alone."""
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster


def json_object(path: Path, faults: list[str]) -> dict[str, Any]:
    """A JSON object; nothing if there is none. What is wrong with it is added to `faults`."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        faults.append(f"{path.name}: {error.strerror}")
        return {}
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        faults.append(f"{path.name} is damaged")
        return {}
    return found


def yaml_mapping(path: Path) -> dict[str, Any]:
    """A YAML mapping; nothing if there is none that can be read."""
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def planned_epochs(config: Path) -> int | None:
    """The key epochs of a config, without the milliseconds that reading all of it takes."""
    try:
        found = re.search(r"^epochs: (\d{1,9})$", config.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) if found else None


def last_records(path: Path) -> Iterator[dict[str, Any]]:
    """The last lines of metrics.jsonl; torn ones are left out."""
    try:
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


def alive(folder: Path, status: Mapping[str, Any]) -> bool:
    """Whether the process that wrote a status still works: by its number on this host, by its lock, by its traces."""
    here, pid = status.get("host") == platform.node(), status.get("pid")
    if here and type(pid) is int and not _exists(pid):
        return False
    locked = locks.held(folder)  # not known of a folder of launch.noted, which has none
    if locked is not False or here:
        return locked is not False  # a number may have gone to another process, the lock has not
    return _silence(folder) < QUIET


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0) if 0 < pid < 2**31 else None
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        pass
    return 0 < pid < 2**31


def _silence(folder: Path) -> float:
    """Seconds since a run last wrote a status or a line of metrics."""
    times = [0.0]
    for name in ("status.json", "metrics.jsonl"):
        try:
            times.append((folder / name).stat().st_mtime)
        except OSError:
            continue
    return time.time() - max(times)
