"""What a run is made from, kept in its checkpoints: going on from anything else is refused.

Files of weights are known by their contents, so that they, and the run, may be moved.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from configs import reader, records
from configs.errors import InputError
from data_pipes.sources import source
from data_pipes.spec import DataSpec
from models import artefact
from models.adopt.conversion import ORIGIN_SHA
from models.spec import names_file
from train.adopt.config import TEACHER
from train.config import TrainConfig
from train.run_folder.run_dir import END_KEYS, FREE_KEYS, RunDir, differing_keys

RECIPE = ("epochs", "optim")
"""Keys that an extension changes."""


def of(config: TrainConfig, micro_batch_size: int) -> dict[str, Any]:
    """Return the origin of a run as plain values. InputError: a file is missing."""
    files = {"teacher": config.teacher_file, "starting weights": config.trained.name}
    return {
        "sha256": {who: artefact.sha256(path) for who, path in files.items() if path is not None and names_file(path)},
        "micro_batch_size": micro_batch_size,
        "config": yaml.safe_load(reader.dump(config)),
    }


def require_same(known: dict[str, Any], now: dict[str, Any], folder: RunDir, *, extended: bool) -> None:
    """InputError if a run would go on from something else than it began with; `known` is empty before its first step.

    extended: its epochs and optim may differ.
    """
    if not known:
        return
    changed = [f"{who} (another file)" for who, own in known["sha256"].items() if now["sha256"].get(who) != own]
    free: Collection[str] = (*FREE_KEYS, *END_KEYS, *(RECIPE if extended else ()))
    changed += differing_keys(known["config"], now["config"], free)
    if known["micro_batch_size"] != now["micro_batch_size"]:
        old, new = known["micro_batch_size"], now["micro_batch_size"]
        changed.append(
            f"micro-batches of {old} images are now of {new} (--micro_batch_size {old} keeps them on any number of "
            "processes)"
        )
    if changed:
        raise InputError(
            f"the run in {folder.path} began with something else: {'; '.join(changed)}. Put that back, or choose "
            "another --run_dir"
        )


def require_finished_with(config: TrainConfig, folder: RunDir, *, chained: bool = False) -> None:
    """InputError if a finished run was made with another teacher or other images than a config names now.

    Images are only looked at where data.root is another one than before, or if the run is `chained`: what follows must
    not validate on images that it was trained on.
    """
    lineage, changed = artefact.read_card(folder.weights).lineage, []
    before = records.from_yaml(folder.config)["data"].get("root")
    if _is_other_teacher(config.teacher_file, lineage, folder):
        changed.append(f"another teacher than {config.teacher_file}")
    if config.data.root != before and not was_trained_on(config.data, lineage.get("data")):
        changed.append(f"other images than those of {config.data.root} (data.root was {before})")
    elif chained and source.load(config.data, "train").fingerprint != lineage.get("data"):
        changed.append("other images, or another cut of them, than data.root holds now")
    if changed:
        raise InputError(f"{folder.path} is finished, with {' and '.join(changed)}; choose another --run_dir")


def was_trained_on(data: DataSpec, fingerprint: str | None) -> bool:
    """Whether training images with this fingerprint are those of a data set; however its validation split was cut."""
    if source.load(data, "train").fingerprint == fingerprint:
        return True
    return source.is_cut(data) and source.cut_by_position(data)[0].fingerprint == fingerprint


def _is_other_teacher(teacher: str | None, lineage: Mapping[str, str], folder: RunDir) -> bool:
    """Whether there is a file under the teacher's name, and it is not the one that the run had."""
    if teacher is None or not names_file(teacher) or not Path(teacher).exists():
        return False
    adopted = folder.path / TEACHER
    known = artefact.read_card(adopted).lineage.get(ORIGIN_SHA) if adopted.exists() else lineage.get("teacher_sha256")
    return known is not None and artefact.sha256(teacher) != known
