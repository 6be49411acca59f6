"""TrainState: the complete list of what resumption needs.

The order of samples, augmentation and dropout are functions of (seed, epoch, step), so no generator's state is in it;
the learning rate is a function of the step; the teacher is read from its own file.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from timm.utils import ModelEmaV3
from torch import nn
from torch.optim import Optimizer

from configs.errors import InputError
from models import state_dicts
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
    pixels: str | None = None
    data: dict[str, str] = field(default_factory=dict)
    """Fingerprints of the training and the validation split."""


@dataclass(kw_only=True, slots=True)
class TrainState:
    """Student with adapters, optimizer, moving average, the best weights so far, counters."""

    student: Student
    optimizer: Optimizer
    ema: ModelEmaV3 | None
    scaler: torch.amp.GradScaler | None
    progress: Progress = field(default_factory=Progress)
    best: Tensors = field(default_factory=dict)

    @property
    def evaluated(self) -> nn.Module:
        """The network that is evaluated and saved: the moving average where there is one."""
        net: nn.Module = self.ema.module if self.ema is not None else self.student.net
        return net

    def keep_best(self, correct: int) -> bool:
        """Remember the weights of this epoch if none had as many right before."""
        if correct <= self.progress.best_correct:
            return False
        self.progress.best_correct, self.progress.best_epoch = correct, self.progress.epoch
        self.best = {name: t.detach().cpu().clone() for name, t in self.evaluated.state_dict().items()}
        return True

    def save(self, folder: Path) -> None:
        """Write a checkpoint; on the main process only."""
        tensors = _prefixed("student", self.student.state_dict())
        tensors |= _prefixed("ema", self.ema.module.state_dict()) if self.ema is not None else {}
        tensors |= _prefixed("best", self.best)
        tensors |= {
            f"optimizer/{index}/{name}": value
            for index, values in self.optimizer.state_dict()["state"].items()
            for name, value in values.items()
            if isinstance(value, torch.Tensor)
        }
        record = {"progress": asdict(self.progress), "scaler": self.scaler.state_dict() if self.scaler else None}
        checkpoint.save(folder, self.progress.total_steps, tensors, record)

    def resume(self, folder: Path) -> bool:
        """Take up the newest sound checkpoint, on every process; False if there is none."""
        loaded = checkpoint.load_newest(folder)
        if loaded is None:
            return False
        tensors, record = loaded
        _load(self.student, _under("student", tensors), folder)
        if self.ema is not None:
            _load(self.ema.module, _under("ema", tensors), folder)
        self.best = _under("best", tensors)
        self._load_optimizer(_under("optimizer", tensors))
        self.progress = Progress(**record["progress"])
        if self.scaler is not None and record["scaler"]:
            self.scaler.load_state_dict(record["scaler"])
        return True

    def _load_optimizer(self, tensors: Tensors) -> None:
        state: dict[int, dict[str, Any]] = {}
        for name, value in tensors.items():
            index, key = name.split("/")
            state.setdefault(int(index), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]  # from the config
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})


def _prefixed(prefix: str, tensors: Tensors) -> Tensors:
    return {f"{prefix}/{name}": value for name, value in tensors.items()}


def _under(prefix: str, tensors: Tensors) -> Tensors:
    return {name[len(prefix) + 1 :]: value for name, value in tensors.items() if name.startswith(f"{prefix}/")}


def _load(module: nn.Module, tensors: Tensors, folder: Path) -> None:
    try:
        state_dicts.load(module, tensors)
    except RuntimeError as error:
        raise InputError(f"the checkpoint in {folder} does not fit the network: {error}") from error
