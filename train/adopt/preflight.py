"""Teacher, student, classes and channels of a run, checked before its images are indexed and most libraries loaded.

timm alone takes longer to import than a refusal may take.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from configs import reader
from configs.errors import InputError
from data_pipes.sources import source
from data_pipes.spec import DataSpec
from models import artefact
from models.adopt import conversion, pretrained, weight_file
from models.spec import ModelSpec, names_file, names_pretrained
from train import guards
from train.adopt.config import STUDENT, TEACHER
from train.adopt.names import foreign
from train.run_folder.occupied import refusal_recorded
from train.run_folder.run_dir import RunDir


def require_fit(
    data: DataSpec, run_dir: str, *, teacher: str | None, network: ModelSpec | None, config: object = None
) -> None:
    """Refuse a teacher, or a file that training starts from, that does not fit a data set.

    Args:
        data: The data set; no image of it is read.
        run_dir: A finished run needs nothing any more, and one that was begun has adopted what it needs.
        teacher: A file, or the name of published weights; None: there is none.
        network: What is trained; None: something that will be made by then.
        config: The run's config, where a refusal is to stand in its status; None: nowhere.

    Raises:
        InputError: Files are missing, damaged, or for other classes or channels.
        UsageError: There is no such data set, or no such published network.
    """
    folder = RunDir.at(run_dir)
    if folder.done.exists():
        return
    with nullcontext() if config is None else refusal_recorded(folder, reader.dump(config)):
        _require_fit(data, folder, teacher, network)


def _require_fit(data: DataSpec, folder: RunDir, teacher: str | None, network: ModelSpec | None) -> None:
    names = network is not None and names_file(network.name)
    if teacher is None and not names:
        return
    classes = source.class_names(data)
    if teacher is not None and not (folder.path / TEACHER).exists():
        _require_teacher(teacher, classes)
    if network is not None and names and not (folder.path / STUDENT).exists():
        _require_student(network, data, classes)


def _require_teacher(name: str, classes: tuple[str, ...]) -> None:
    if names_pretrained(name):
        pretrained.require_classes(name, len(classes))
    elif foreign(name):
        conversion.require_classes(weight_file.read(name), classes)
    else:
        guards.require_classes(artefact.read_card(name).classes, classes, f"the teacher {name}")


def _require_student(spec: ModelSpec, data: DataSpec, classes: tuple[str, ...]) -> None:
    """Check a file of ours; weights from elsewhere may get a new last layer, and need only be readable."""
    if foreign(spec.name):
        weight_file.read(spec.name)
        return
    card = artefact.read_card(Path(spec.name))
    guards.require_classes(card.classes, classes, f"the student {spec.name}")
    if card.input_CHW[0] != data.channels:
        raise InputError(
            f"the student {spec.name} takes {card.input_CHW[0]} channels and data.mean has {data.channels}: use "
            "another file, or as many means"
        )
