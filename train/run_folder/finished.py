"""A finished run: its result and its weights, checked before they are shown."""

from __future__ import annotations

import logging
from typing import Any

from accelerate import Accelerator

from configs.errors import InputError
from configs.files import json_object
from models import artefact
from train.processes import by_main
from train.run_folder.run_dir import RunDir

logger = logging.getLogger(__name__)


def announce(accelerator: Accelerator, folder: RunDir) -> None:
    """Say that a run is finished. Collective. InputError: its weights or its result are missing or damaged."""
    by_main(accelerator, lambda: _require_whole(folder))
    logger.info("%s is finished already: nothing was trained", folder.path)


def result(folder: RunDir) -> dict[str, Any]:
    """Return the result of a finished run. InputError: it is missing or damaged."""
    faults: list[str] = []
    found = json_object(folder.result, faults)
    if faults or not found:
        raise InputError(f"{folder.result} is {'damaged' if faults else 'missing'}; {_remedy(folder)}")
    return found


def _require_whole(folder: RunDir) -> None:
    result(folder)
    try:
        artefact.load(folder.weights)
    except InputError as error:
        raise InputError(f"{folder.path} is marked as done, but {error}; {_remedy(folder)}") from error


def _remedy(folder: RunDir) -> str:
    return f"put it back, or delete {folder.done}, and the same command writes it again from what is still there"
