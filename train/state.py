"""TrainState: the complete list of what resumption needs, and its form in a checkpoint.

The order of samples, augmentation and dropout are functions of (seed, epoch, step), so no generator's state is in it;
the learning rate is a function of the step; the teacher is read from its own file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

import torch
from torch import nn
from torch.optim import Optimizer

from configs import records
from configs.errors import InputError
from models import state_dicts
from train.optim.moving_average import MovingAverage
from train.optim.optimizer import NamedState, load_named_state, named_state
from train.run_folder import checkpoint
from train.student import Student

Tensors = dict[str, torch.Tensor]


@dataclass(kw_only=True, slots=True)
class Progress:
    """Counters. `step` counts optimizer steps within `epoch`, `total_steps` over the run."""

    epoch: int = 0
    step: int = 0
    total_steps: int = 0
    best_epoch: int = -1
    best_correct: int = -1
    train_seconds: float = 0.0
    seconds: float = 0.0
    images: int = 0
    measured: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Measurements of the epoch so far, as `window.Totals.reduced` returns them."""
    clock: dict[str, float] = field(default_factory=dict)
    """Seconds of the epoch so far, by part, as `clock.Clock.mean` returns them."""
    pixels: str | None = None
    data: dict[str, str] = field(default_factory=dict)
    """Fingerprints of the training and the validation split."""
    origin: dict[str, Any] = field(default_factory=dict)
    """What the run is made from; see train/stage/origin.py."""


@dataclass(kw_only=True, slots=True)
class TrainState:
    """Student with adapters, optimizer, moving average, best weights so far, and counters."""

    student: Student
    optimizer: Optimizer
    ema: MovingAverage | None
    scaler: torch.amp.GradScaler | None
    progress: Progress = field(default_factory=Progress)
    best: Tensors = field(default_factory=dict)

    @property
    def evaluated(self) -> nn.Module:
        """The network that is evaluated and saved: the moving average where there is one."""
        net: nn.Module = self.ema.module if self.ema is not None else self.student.net
        return net

    def keep_best(self, correct: int) -> bool:
        """Keep the weights of this epoch if more samples are right than in any before; return whether they are."""
        if correct <= self.progress.best_correct:
            return False
        self.progress.best_correct, self.progress.best_epoch = correct, self.progress.epoch
        self.best = {name: t.detach().cpu().clone() for name, t in self.evaluated.state_dict().items()}
        return True

    def save(self, folder: Path) -> None:
        """Write a checkpoint; on the main process only."""
        saved = SavedState(
            student=self.student.state_dict(),
            ema=self.ema.module.state_dict() if self.ema is not None else {},
            best=self.best,
            optimizer=named_state(self.optimizer, self.student),
            progress=self.progress,
            scaler=self.scaler.state_dict() if self.scaler else None,
        )
        saved.write(folder)

    def resume(self, folder: Path) -> bool:
        """Load the newest sound checkpoint, on every process; False if there is none.

        InputError: it does not fit the network.
        """
        saved = SavedState.newest(folder)
        if saved is None:
            return False
        try:
            state_dicts.load(self.student, saved.student)
            if self.ema is not None:
                state_dicts.load(self.ema.module, saved.ema)
            load_named_state(self.optimizer, self.student, saved.optimizer)
        except torch.OutOfMemoryError:  # a RuntimeError that says nothing of the checkpoint
            raise
        except (RuntimeError, InputError) as error:
            raise InputError(f"the checkpoint in {folder} does not fit the network: {error}") from error
        self.best, self.progress = saved.best, saved.progress
        if self.scaler is not None and saved.scaler:
            self.scaler.load_state_dict(saved.scaler)
        return True


@dataclass(kw_only=True, slots=True)
class SavedState:
    """A TrainState in a checkpoint: the only place that knows how its tensors are named there."""

    student: Tensors
    ema: Tensors
    """Empty without a moving average."""
    best: Tensors
    """Empty before the first validation."""
    optimizer: NamedState
    progress: Progress
    scaler: dict[str, Any] | None

    def write(self, folder: Path) -> None:
        """Write the checkpoint of `progress.total_steps`."""
        optimizer = {name: value for name, values in self.optimizer.items() for name, value in _prefixed(name, values)}
        parts = {"student": self.student, "ema": self.ema, "best": self.best, "optimizer": optimizer}
        tensors = {name: value for part, own in parts.items() for name, value in _prefixed(part, own)}
        record = {"progress": asdict(self.progress), "scaler": self.scaler}
        checkpoint.save(folder, self.progress.total_steps, tensors, record)

    @classmethod
    def newest(cls, folder: Path) -> SavedState | None:
        """Read the newest sound checkpoint; None if there is none. InputError as in `checkpoint.load_newest`."""
        loaded = checkpoint.load_newest(folder)
        if loaded is None:
            return None
        tensors, record = loaded
        parts: dict[str, Tensors] = {"student": {}, "ema": {}, "best": {}, "optimizer": {}}
        for name, value in tensors.items():
            part, _, rest = name.partition("/")
            if part not in parts:
                raise InputError(f"the checkpoint in {folder} is damaged: it has a tensor {name!r}")
            parts[part][rest] = value
        optimizer: NamedState = {}
        for name, value in parts.pop("optimizer").items():
            parameter, _, key = name.rpartition("/")
            optimizer.setdefault(parameter, {})[key] = value
        return cls(**parts, optimizer=optimizer, progress=_progress(folder, record), scaler=record.get("scaler"))


def newest_progress(folder: Path) -> Progress | None:
    """Read the counters alone of the newest sound checkpoint; None if there is none. InputError as there."""
    record = checkpoint.newest_record(folder)
    return None if record is None else _progress(folder, record)


def _progress(folder: Path, record: dict[str, Any]) -> Progress:
    """Return the counters of a checkpoint. InputError: they are damaged."""
    hints = get_type_hints(Progress)
    found = records.typed(folder, record, {"progress": dict[str, Any]})["progress"]
    try:
        return Progress(**records.typed(folder, found, {name: hints[name] for name in found if name in hints}))
    except TypeError as error:
        raise InputError(f"the checkpoint in {folder} is damaged: {error}") from error


def _prefixed(prefix: str, tensors: Tensors) -> Iterator[tuple[str, torch.Tensor]]:
    return ((f"{prefix}/{name}", value) for name, value in tensors.items())
