"""Teachers and starting weights from elsewhere, adopted into the run folder before anything is trained.

    RUN/adopted-teacher.safetensors   the teacher, with its accuracy on validation
    RUN/adopted-student.safetensors   the weights that training starts from

A run that is resumed uses these files, and is refused if what they were made from is another file by now.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TypeVar

import torch
from accelerate import Accelerator

from configs.errors import InputError, UsageError
from data_pipes.spec import DataSpec
from models import artefact
from models.adopt import conversion
from models.adopt.conversion import ORIGIN, ORIGIN_SHA
from models.spec import ModelSpec, names_file, names_pretrained
from train.adopt.config import STUDENT, TEACHER
from train.adopt.measured import scored, wanted
from train.adopt.names import foreign, foreign_network
from train.config import TrainConfig
from train.processes import by_main
from train.run_folder.run_dir import RunDir

logger = logging.getLogger(__name__)
Config = TypeVar("Config", bound=TrainConfig)


def adopted(config: Config, accelerator: Accelerator, folder: RunDir) -> Config:
    """Return a config that names our own files in place of weights from elsewhere. Collective.

    InputError: they cannot be read, do not fit the data, or are others than those that the run began with.
    """
    if foreign_network(config.trained):
        made = by_main(accelerator, lambda: student(config.trained, config.data, folder, seed=config.seed))
        config = config.starting_from(made, config.teacher_file)
    return with_teacher(config, accelerator, folder)


def with_teacher(config: Config, accelerator: Accelerator, folder: RunDir) -> Config:
    """Return a config that names a file of ours as its teacher. Collective. InputError as for `adopted`."""
    if config.teacher_file is None or not foreign(config.teacher_file):
        return config
    check = config.loss.teacher_check > 0
    made = adopted_teacher(config.teacher_file, config.data, accelerator, folder, check=check)
    return config.starting_from(config.trained.name, made)


def adopted_teacher(name: str, data: DataSpec, accelerator: Accelerator, folder: RunDir, *, check: bool = True) -> str:
    """Adopt a teacher into a folder, or find it there; return the path. Collective.

    check: measure its accuracy on validation, and record it in the file.
    """
    path = folder.path / TEACHER
    by_main(accelerator, lambda: _teacher(name, data, folder, path))
    net, card = artefact.load(path)
    if check and not card.scores:
        logger.info("teacher %s: measuring it on validation", name)
        card = scored(net, card, data, accelerator, name)
        if accelerator.is_main_process:
            artefact.save(path, net, card)
        accelerator.wait_for_everyone()
    return str(path)


def at_hand(name: str, data: DataSpec, accelerator: Accelerator, home: str) -> str:
    """Return a teacher's file: itself if it is ours, or one in the folder `home` of the main process. Collective."""
    if not foreign(name):
        return name
    folder = by_main(accelerator, lambda: RunDir.at(home))
    return adopted_teacher(name, data, accelerator, folder, check=False)


def student(spec: ModelSpec, data: DataSpec, folder: RunDir, *, seed: int) -> str:
    """Adopt starting weights into a folder, or find them there; return the path.

    Their last layer is drawn anew, by the seed, where it has other classes than the data.
    """
    if spec != ModelSpec(name=spec.name, stem=spec.stem):
        raise UsageError(f"{spec.name} takes no further setting but stem: its shape follows from its weights")
    path = folder.path / STUDENT
    if _same(spec.name, path, folder):
        return str(path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net, card = conversion.starting_weights(spec, wanted(data))
    if card.input_CHW[0] != data.channels:
        raise InputError(
            f"{spec.name} takes {card.input_CHW[0]} channels and data.mean has {data.channels}: give as many means as "
            "the network takes channels (grey images are repeated)"
        )
    artefact.save(path, net, card)
    return str(path)


def _teacher(name: str, data: DataSpec, folder: RunDir, path: Path) -> None:
    if _same(name, path, folder):
        return
    known = wanted(data)
    if names_pretrained(name):
        net, card = conversion.published(name, classes=known.classes)
    else:
        net, card = conversion.adopt(name, known)
    artefact.save(path, net, card)


def _same(name: str, path: Path, folder: RunDir) -> bool:
    """Whether the file was made from what is named now. InputError: it was not, and work has begun with it."""
    if not path.exists():
        return False
    lineage = artefact.read_card(path).lineage
    if not names_file(name):
        same = lineage.get(ORIGIN) == name
    elif not Path(name).exists():
        logger.warning("%s is gone; %s, which was made from it, is used", name, path)
        return True
    else:
        same = lineage.get(ORIGIN_SHA) == artefact.sha256(name)
    if not same and folder.started:
        raise InputError(
            f"{name} is not the file that the run in {folder.path} began with ({path.name} was made from it): put that "
            "one back, or choose another --run_dir"
        )
    return same
