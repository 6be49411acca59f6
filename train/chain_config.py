"""What a user may say about chains of runs: cuts with training in between, and all stages from teacher to ONNX file.

Free of torch, so that --help and config errors answer at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from configs.errors import require
from data_pipes.spec import AugmentSpec, DataSpec
from models.pruning.spec import PruneSpec
from models.spec import ModelSpec
from train.config import DistillConfig, DistillSpec, Recipe, RunSpec, TeacherConfig


@dataclass(frozen=True, kw_only=True)
class CutSpec:
    """What is cut, and what changes from cut to cut."""

    prune: PruneSpec
    """What to cut."""
    final_epochs: int | None = None
    """Epochs after the last cut; null: as many as after the others."""
    recalibration: int = 8
    """Batches of training images by which BatchNorm's statistics are estimated anew after a cut. 0: none."""
    final_temperature: float | None = None
    """distill.temperature after the last cut; between the cuts it moves linearly. null: it stays."""
    final_alpha: float | None = None
    """distill.alpha after the last cut, likewise."""
    final_lr: float | None = None
    """optim.lr after the last cut; between the cuts it moves geometrically. null: it stays."""

    def __post_init__(self) -> None:
        require(self.final_epochs is None or self.final_epochs >= 1, "final_epochs", self.final_epochs, "at least 1")
        require(self.recalibration >= 0, "recalibration", self.recalibration, "at least 0")
        for key in ("final_temperature", "final_lr"):
            require(getattr(self, key) is None or getattr(self, key) > 0, key, getattr(self, key), "positive")
        require(self.final_alpha is None or 0 <= self.final_alpha <= 1, "final_alpha", self.final_alpha, "in [0, 1]")


@dataclass(frozen=True, kw_only=True)
class PruneConfig(DistillConfig, CutSpec):
    """A trained student, cut to a budget in steps; after each it is trained for `epochs`, with the teacher."""

    dry_run: bool = False
    """Print the cuts as the weights are now, and do nothing."""

    def __post_init__(self) -> None:
        DistillConfig.__post_init__(self)
        CutSpec.__post_init__(self)
        named = self.student == ModelSpec(name=self.student.name) and self.student.name.endswith(".safetensors")
        require(
            named,
            "student.name",
            self.student.name,
            "the .safetensors file of a trained network, as train.teacher and train.distill write, and nothing else",
        )
        require(not self.keep_zeros, "keep_zeros", True, "left out: prune.kind says whether zeros stay")
        require(
            not self.extend,
            "extend",
            True,
            "left out: train.distill trains what a finished chain has left, with --student.name RUN/model.safetensors, "
            "in a run folder of its own",
        )
        endless = self.distill.teacher_logits == "cached" and self.views is None
        valid = "a number where distill.teacher_logits is cached: each cut's training goes on through the views"
        require(not endless, "views", None, valid)

    def after_cut(self, number: int, *, run_dir: str, student: str) -> DistillConfig:
        """The training after cut `number`, counted from 1, as a config of its own."""
        last = number == self.prune.steps
        share = (number - 1) / max(self.prune.steps - 1, 1)
        temperature, alpha = self.distill.temperature, self.distill.alpha
        temperature += share * ((self.final_temperature or temperature) - temperature)
        alpha += share * ((alpha if self.final_alpha is None else self.final_alpha) - alpha)
        lr = self.optim.lr * ((self.final_lr or self.optim.lr) / self.optim.lr) ** share
        own = _values(self, DistillConfig) | {
            "run_dir": run_dir,
            "student": ModelSpec(name=student),
            "epochs": self.final_epochs if last and self.final_epochs is not None else self.epochs,
            "distill": replace(self.distill, temperature=temperature, alpha=alpha),
            "optim": replace(self.optim, lr=lr, min_lr=min(self.optim.min_lr, lr)),
            "test": self.test and last,
            "track": replace(self.track, group=self.track.group or Path(self.run_dir).name),
            "first_epoch": self.first_epoch + (number - 1) * self.epochs,
            "keep_zeros": self.prune.kind == "unstructured",
        }
        return DistillConfig(**own)


@dataclass(frozen=True, kw_only=True)
class Stage(Recipe):
    """A training of a chain; what its stages share stands outside."""

    augment: AugmentSpec | None = None
    """Other augmentation than data.augment, in this stage alone."""

    def data(self, shared: DataSpec) -> DataSpec:
        """The data of this stage."""
        return shared if self.augment is None else replace(shared, augment=self.augment)


@dataclass(frozen=True, kw_only=True)
class TeacherStage(Stage):
    """Supervised training of the teacher."""

    model: ModelSpec
    """The teacher."""


@dataclass(frozen=True, kw_only=True)
class StudentStage(Stage):
    """Distillation of the teacher into a student."""

    model: ModelSpec
    """The student, before any cut."""
    distill: DistillSpec = field(default_factory=DistillSpec)
    """The loss."""


@dataclass(frozen=True, kw_only=True)
class CutStage(Stage, CutSpec):
    """Cuts of the student to a budget, each followed by `epochs` of training with the teacher."""

    distill: DistillSpec | None = None
    """Another loss than student.distill."""

    def __post_init__(self) -> None:
        Stage.__post_init__(self)
        CutSpec.__post_init__(self)


@dataclass(frozen=True, kw_only=True)
class CompressConfig(RunSpec):
    """Teacher, student, cuts, evaluation and ONNX file, one after another, each in its own folder below run_dir."""

    teacher: str | None = None
    """The .safetensors file of a teacher that is there already; or give teacher_training."""
    teacher_training: TeacherStage | None = None
    """The teacher, and how it is trained."""
    student: StudentStage
    """The student, and how the teacher is distilled into it."""
    cut: CutStage
    """The budget, and how the student is cut to it."""
    onnx: bool = True
    """Write model.onnx too, proved equal, and measure latency beside the teacher's (needs the extra [export])."""

    def __post_init__(self) -> None:
        RunSpec.__post_init__(self)
        require(
            (self.teacher is None) != (self.teacher_training is None),
            "teacher",
            self.teacher,
            "a .safetensors file where there is no section teacher_training, and left out where there is one",
        )
        self.cutting()  # whatever is wrong with a later stage is said before the first begins

    @property
    def teacher_weights(self) -> str:
        """The teacher's file."""
        return self.teacher or str(Path(self.run_dir) / "teacher" / "model.safetensors")

    def training(self) -> TeacherConfig | None:
        """train.teacher of this chain; None if the teacher is there already."""
        stage = self.teacher_training
        return None if stage is None else TeacherConfig(**self._shared(stage, "teacher"), model=stage.model)

    def distillation(self) -> DistillConfig:
        """train.distill of this chain."""
        own = self._shared(self.student, "student")
        return DistillConfig(
            **own, student=self.student.model, teacher=self.teacher_weights, distill=self.student.distill
        )

    def cutting(self) -> PruneConfig:
        """train.prune of this chain."""
        return PruneConfig(
            **self._shared(self.cut, "cut"),
            **_values(self.cut, CutSpec),
            student=ModelSpec(name=str(Path(self.run_dir) / "student" / "model.safetensors")),
            teacher=self.teacher_weights,
            distill=self.cut.distill or self.student.distill,
            first_epoch=self.student.epochs,
        )

    def _shared(self, stage: Stage, name: str) -> dict[str, Any]:
        own = {
            "run_dir": str(Path(self.run_dir) / name),
            "data": stage.data(self.data),
            "track": replace(self.track, group=self.track.group or Path(self.run_dir).name),
        }
        return _values(self, RunSpec) | _values(stage, Recipe) | own


def _values(config: object, cls: type) -> dict[str, Any]:
    """The values that a config has for the fields of another class."""
    return {declared.name: getattr(config, declared.name) for declared in fields(cls)}
