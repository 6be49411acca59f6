"""What a teacher answers on validation: found once, and kept for all stages of a chain that it teaches."""

from __future__ import annotations

from typing import Any

from accelerate import Accelerator
from torch import Tensor

from models import artefact
from train.config import TrainConfig
from train.evaluate.evaluation import predictions
from train.live_teacher import LiveTeacher
from train.loaders import Data

_known: dict[Any, Tensor] = {}


def on_validation(teacher: LiveTeacher, config: TrainConfig, data: Data, accelerator: Accelerator) -> Tensor:
    """Return the class that a teacher predicts for each validation image, as `predictions` does. Collective.

    Evaluation views are fixed, so that the stages of a chain, such as thirty cuts, share the answers. Those of the last
    teacher are kept: 8 bytes per image.
    """
    key = _identity(config, data, accelerator)
    if key not in _known:
        batches = data.validation_loader.epoch(0)
        found = predictions(accelerator, teacher, batches, len(data.validation))
        _known.clear()
        _known[key] = found
    return _known[key]


def _identity(config: TrainConfig, data: Data, accelerator: Accelerator) -> tuple[object, ...]:
    """What the answers depend on, and which of them this process has."""
    assert config.teacher_file is not None
    own, spec = artefact.sha256(config.teacher_file), config.data
    seen = (spec.image_size, spec.mean, spec.std, spec.eval_crop, data.validation.fingerprint, data.chosen.label)
    place = (str(accelerator.device), accelerator.num_processes, accelerator.process_index)
    return (own, config.loss.teacher_size, config.precision, *seen, *place)
