"""What is here: GPUs, processor, versions, commit."""

from __future__ import annotations

from typing import Any

from launch.bench.report import hardware, surroundings


def look() -> dict[str, Any]:
    """The names of the GPUs that torch can use, a line about the machine, and the commit of the source tree."""
    found = surroundings()
    return {"gpus": found["gpus"], "machine": hardware(found).replace("\n", "; "), "commit": found["commit"]}
