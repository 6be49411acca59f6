"""Extension of a finished run by more epochs, with another schedule: training resumes from its last state.

extensions.json   all extensions, oldest first; result.json repeats the finished ones

The earlier weights and result stay in the run folder until the extension is finished; `done` is removed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import yaml

from configs import records
from configs.errors import InputError
from configs.files import write_atomically
from configs.shown import command
from models import artefact
from train.run_folder import result as run_result
from train.run_folder.run_dir import FREE_KEYS, RunDir, differing_keys, write_json
from train.state import newest_progress

logger = logging.getLogger(__name__)
NAME = "extensions.json"
KEYS = ("epochs", "optim")
"""Config keys that an extension may change."""
TRAINED = {"epochs": int, "optim": dict[str, Any]}
"""Their types."""
Settings = Mapping[str, Any]
FIELDS = {"from_epoch": int, "from_step": int} | dict.fromkeys(("before", "after"), dict[str, Any])


@dataclass(frozen=True, kw_only=True, slots=True)
class Extension:
    """One extension of a run."""

    from_epoch: int
    """Epochs that were trained before it."""
    from_step: int
    """Optimizer steps that were taken before it: its schedule counts from here."""
    before: Settings
    """The epochs and optim of the config before it."""
    after: Settings
    """The epochs and optim of the extension."""
    result: Settings | None
    """What the run had reached, with the SHA-256 of its weights. None: it follows an extension that was interrupted."""

    @property
    def summary(self) -> str:
        """Text for the lineage of the network."""
        optim = self.after["optim"]
        return f"at epoch {self.from_epoch}, to {self.after['epochs']}, {optim['schedule']} from lr {optim['lr']}"


def begin(folder: RunDir, config_yaml: str) -> None:
    """Let a finished run, or one whose extension was interrupted, go on with the epochs and the optim of a new config.

    Nothing changes if the newest extension is of this config already: it goes on, or it is finished.

    InputError: there is no finished run, it is part of a chain, more than epochs and optim differ, there are no epochs
    to add, or its last state is gone.
    """
    old = records.from_yaml(folder.config) if folder.config.exists() else {}
    new, known = yaml.safe_load(config_yaml), read(folder)
    if not (old and (folder.done.exists() or known)):
        raise InputError(
            f"{folder.path} holds no finished run to extend: train it to its end first, without --extend and with the "
            "epochs and settings that it begins with"
        )
    _require_own(folder, old)
    records.typed(folder.config, old, TRAINED)
    _require_same(folder, old, new)
    if known and known[-1].after == _settings(old) == _settings(new):
        if not _is_finished(folder, known):
            folder.done.unlink(missing_ok=True)
        return
    extension = _new(folder, old, new)
    # A kill between any two of these leaves the finished run as it was, or this extension to go on with.
    earlier = [asdict(one) for one in known if one.from_step < extension.from_step]
    write_json(folder.path / NAME, [*earlier, asdict(extension)])
    write_atomically(folder.config, config_yaml)
    folder.done.unlink(missing_ok=True)
    logger.info("extended %s", extension.summary)


def read(folder: RunDir) -> tuple[Extension, ...]:
    """Return the extensions of a run, oldest first. InputError: the file is damaged."""
    path = folder.path / NAME
    if not path.exists():
        return ()
    try:
        found = records.from_json(path)
        for fields in found:
            for part in ("before", "after"):
                optim = records.typed(path, records.typed(path, fields, FIELDS)[part], TRAINED)["optim"]
                records.typed(path, optim, {"schedule": str, "lr": float})
        return tuple(Extension(**records.typed(path, fields, FIELDS)) for fields in found)
    except (InputError, TypeError) as error:
        raise InputError(f"{error}; restore {path}, or train in another --run_dir") from error


def require_reached(known: tuple[Extension, ...], step: int, folder: RunDir) -> None:
    """InputError if training would go on from before the newest extension: its first checkpoint is damaged or gone."""
    if known and step < known[-1].from_step:
        raise InputError(
            f"the extension of {folder.path} begins at step {known[-1].from_step}, and its newest sound checkpoint is "
            f"of step {step}. Restore the later one in {folder.checkpoints}, or train {folder.weights} on in another "
            "--run_dir"
        )


def _settings(config: Settings) -> dict[str, Any]:
    return {key: config.get(key) for key in KEYS}


def _require_own(folder: RunDir, config: Settings) -> None:
    """InputError for a chain, and for a stage of one: what comes after it was made from its weights."""
    where, parent = folder.path, RunDir(folder.path.parent)
    above = records.from_yaml(parent.config) if parent.config.exists() else {}
    if "prune" in config or "cut" in config:
        what = f"{where} holds a chain of stages, each made from the one before"
    elif "cut" in above or "prune" in above:
        what = f"{where} is a stage of the chain in {parent.path}, whose later stages are made from it"
    else:
        return
    raise InputError(
        f"{what}: it cannot be extended. Train its weights on in a run folder of their own, with "
        f"`{command('python', '-m', 'train.distill', '--student.name', folder.weights)}` (and --keep_zeros true "
        "after an unstructured cut)"
    )


def _require_same(folder: RunDir, old: Settings, new: Settings) -> None:
    """InputError if more differs than an extension may change."""
    fixed = [
        {key: value for key, value in config.items() if key not in KEYS}
        | {"optim": {"name": config["optim"].get("name")}}  # whose state goes on
        for config in (old, new)
    ]
    changed = differing_keys(fixed[0], fixed[1], FREE_KEYS)
    if changed:
        raise InputError(
            f"{folder.path} can be extended with other epochs and another learning rate, schedule or decay, and with "
            f"nothing else; {'; '.join(changed)}. Leave that as it was, or choose another --run_dir"
        )


def _is_finished(folder: RunDir, known: tuple[Extension, ...]) -> bool:
    if not (folder.done.exists() and folder.result.exists()):
        return False
    recorded = run_result.read(folder.path).get("extensions", [])
    return bool(recorded == [asdict(one) for one in known])


def _new(folder: RunDir, old: Settings, new: Settings) -> Extension:
    progress = newest_progress(folder.checkpoints)
    if progress is None:
        raise InputError(
            f"{folder.checkpoints} holds no checkpoint, so that the last state of the run is gone. Train its weights "
            f"on in another --run_dir, with student.name (or model.name) {folder.weights}"
        )
    trained, step = progress.epoch, progress.total_steps
    if new["epochs"] <= trained:
        raise InputError(
            f"{folder.path} has trained {trained} epochs; epochs is {new['epochs']}, and must be more than that to "
            "extend it: it counts all epochs, old and new"
        )
    result = None
    if folder.done.exists():
        found = run_result.read(folder.path)
        keys = ("accuracy", "accuracy_split", "validation_accuracy", "best_epoch", "epochs")
        later = {"test_reads": found.get("test_reads"), "sha256": artefact.sha256(folder.weights)}
        result = {key: found[key] for key in keys} | later
    return Extension(from_epoch=trained, from_step=step, before=_settings(old), after=_settings(new), result=result)
