"""Config of train.prune: cuts to a budget with training in between.

Free of torch, so that --help and config errors answer at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from configs.errors import require
from models.pruning.spec import PruneSpec
from models.spec import ModelSpec, names_file
from train.config import DistillConfig, field_values


@dataclass(frozen=True, kw_only=True)
class CutSpec:
    """What is cut, and how training changes from cut to cut."""

    prune: PruneSpec
    """What to cut."""
    final_epochs: int | None = None
    """Epochs after the last cut, of all training images; null: epochs, as after the others."""
    recalibration: int = 8
    """Batches of training images that re-estimate BatchNorm's statistics after a cut. 0: statistics stay."""
    final_temperature: float | None = None
    """distill.temperature after the last cut; interpolated linearly from cut to cut. null: it stays."""
    final_alpha: float | None = None
    """distill.alpha after the last cut, interpolated linearly from cut to cut. null: it stays."""
    final_lr: float | None = None
    """optim.lr after the last cut; interpolated geometrically from cut to cut. null: it stays."""

    def __post_init__(self) -> None:
        require(self.final_epochs is None or self.final_epochs >= 1, "final_epochs", self.final_epochs, "at least 1")
        require(self.recalibration >= 0, "recalibration", self.recalibration, "at least 0")
        for key in ("final_temperature", "final_lr"):
            require(getattr(self, key) is None or getattr(self, key) > 0, key, getattr(self, key), "positive")
        require(self.final_alpha is None or 0 <= self.final_alpha <= 1, "final_alpha", self.final_alpha, "in [0, 1]")


@dataclass(frozen=True, kw_only=True)
class PruneConfig(DistillConfig, CutSpec):
    """Cuts of a trained student to a budget, each followed by `epochs` of training with the teacher."""

    dry_run: bool = False
    """Print the cuts that the present weights would get, and do nothing."""

    def __post_init__(self) -> None:
        DistillConfig.__post_init__(self)
        CutSpec.__post_init__(self)
        named = self.student == ModelSpec(name=self.student.name) and names_file(self.student.name)
        require(
            named,
            "student.name",
            self.student.name,
            "the .safetensors file of a trained network, as train.teacher and train.distill write, or a state dict, "
            "such as net.pth, and nothing else",
        )
        require(not self.keep_zeros, "keep_zeros", True, "left out: prune.kind says whether zeros stay")
        require(
            not self.extend,
            "extend",
            True,
            "left out: train.distill trains what a finished chain has left, with --student.name RUN/model.safetensors, "
            "in a run folder of its own",
        )
        taught = self.teacher is not None or not self.final_alpha
        require(taught, "final_alpha", self.final_alpha, "0 or null where teacher is null")
        endless = self.distill.teacher_logits == "cached" and self.views is None
        valid = "a number where distill.teacher_logits is cached: each cut's training goes on through the views"
        require(not endless, "views", None, valid)

    @property
    def teacher_file(self) -> str | None:
        """The teacher's file, or the name of published weights; None if no loss of the chain needs a teacher."""
        return self.teacher if self.final_alpha else super().teacher_file

    @property
    def passes(self) -> float:
        """Passes over the training split after all cuts."""
        epochs, epoch_share = self._ending
        return super().passes * (self.prune.steps - 1) + epochs * epoch_share

    @property
    def _ending(self) -> tuple[int, float]:
        """Epochs after the last cut, and the share of the images that each of them shows."""
        return (self.epochs, self.epoch_share) if self.final_epochs is None else (self.final_epochs, 1.0)

    def after_cut(self, number: int, *, run_dir: str, student: str) -> DistillConfig:
        """Config of the training after cut `number`, counted from 1."""
        last = number == self.prune.steps
        epochs, epoch_share = self._ending if last else (self.epochs, self.epoch_share)
        share = (number - 1) / max(self.prune.steps - 1, 1)
        temperature, alpha = self.distill.temperature, self.distill.alpha
        temperature += share * ((self.final_temperature or temperature) - temperature)
        alpha += share * ((alpha if self.final_alpha is None else self.final_alpha) - alpha)
        lr = self.optim.lr * ((self.final_lr or self.optim.lr) / self.optim.lr) ** share
        own = field_values(self, DistillConfig) | {
            "run_dir": run_dir,
            "student": ModelSpec(name=student),
            "epochs": epochs,
            "epoch_share": epoch_share,
            "distill": replace(self.distill, temperature=temperature, alpha=alpha),
            "optim": replace(self.optim, lr=lr, min_lr=min(self.optim.min_lr, lr)),
            "test": self.test and last,
            "track": replace(self.track, group=self.track.group or Path(self.run_dir).name),
            "first_epoch": self.first_epoch + (number - 1) * self.epochs,
            "keep_zeros": self.prune.kind == "unstructured",
        }
        return DistillConfig(**own)
