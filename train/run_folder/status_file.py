"""status.json, by which whoever looks from outside knows how far a run is and how it ended. Free of torch."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs.files import write_atomically

NAME = "status.json"


def read(folder: Path) -> dict[str, Any]:
    """What a run folder's status says; nothing if there is none, or it is damaged."""
    try:
        found = json.loads((folder / NAME).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def write(folder: Path, values: Mapping[str, Any]) -> None:
    """Write it anew, and when; batch scripts want the state first."""
    write_atomically(folder / NAME, json.dumps({**values, "updated": now()}, indent=2) + "\n")


def process() -> dict[str, Any]:
    """This process, for a status."""
    return {"host": platform.node(), "pid": os.getpid()}


def now() -> str:
    """The time, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
