"""A finished run: checked before its result is shown."""

from __future__ import annotations

import logging

from accelerate import Accelerator

from configs.errors import InputError
from models import artefact, state_dicts
from train.processes import by_main
from train.run_folder import result
from train.run_folder.run_dir import RunDir

logger = logging.getLogger(__name__)


def announce(accelerator: Accelerator, folder: RunDir) -> None:
    """Say that a run is finished. Collective. InputError: its weights or its result are missing or damaged."""
    by_main(accelerator, lambda: _require_whole(folder))
    logger.info("%s is finished already: nothing was trained", folder.path)


def _require_whole(folder: RunDir) -> None:
    try:
        known = result.read(folder.path).get("sha256")  # runs of before have none
        state_dicts.require_finite(artefact.load(folder.weights)[0], folder.weights)
        if known not in (None, artefact.sha256(folder.weights)):
            raise InputError(f"{folder.weights} is another file than the run has written")
    except InputError as error:
        raise InputError(
            f"{folder.path} is marked as done, but {error}; put it back, or delete {folder.done}, and the same command "
            "writes it again from what is still there"
        ) from error
