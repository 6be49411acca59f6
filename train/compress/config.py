"""Config of train.compress: all stages from teacher to ONNX file.

Free of torch, so that --help and config errors answer at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from configs.errors import require
from data_pipes.spec import AugmentSpec, DataSpec
from models.own.code import is_code, listed
from models.spec import ModelSpec
from train.config import DistillConfig, Recipe, RunSpec, TeacherConfig, field_values
from train.loss.config import DistillSpec
from train.prune.config import CutSpec, PruneConfig


@dataclass(frozen=True, kw_only=True)
class Stage(Recipe):
    """One training of a chain; settings that all stages share are outside it."""

    augment: AugmentSpec | None = None
    """Augmentation of this stage alone; null: data.augment."""

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
    """The loss; null: student.distill."""

    def __post_init__(self) -> None:
        Stage.__post_init__(self)
        CutSpec.__post_init__(self)


@dataclass(frozen=True, kw_only=True)
class CompressConfig(RunSpec):
    """Teacher, student, cuts, evaluation and ONNX file, one after another, each in its own folder below run_dir."""

    teacher: str | None = None
    """An existing teacher: a .safetensors file, a state dict from elsewhere, or published weights (timm/NAME). null
    where teacher_training trains one."""
    teacher_training: TeacherStage | None = None
    """The teacher and its training; null where teacher names a file."""
    student: StudentStage
    """The student and its distillation."""
    cut: CutStage
    """The budget and the cuts that lead to it."""
    onnx: bool = True
    """Write model.onnx too, proved equal, and measure latency beside the teacher's (needs the extra [export])."""

    card: bool = False
    """Write README.md too, a model card with metadata for the Hugging Face hub (see models.card, models.publish)."""

    def __post_init__(self) -> None:
        RunSpec.__post_init__(self)
        require(
            (self.teacher is None) != (self.teacher_training is None),
            "teacher",
            self.teacher,
            "a file of weights where there is no section teacher_training, and left out where there is one",
        )
        self.cutting()  # errors of later stages are raised before the first begins

    @property
    def teacher_weights(self) -> str:
        """The teacher's .safetensors file, given or to be trained."""
        return self.teacher or str(Path(self.run_dir) / "teacher" / "model.safetensors")

    def training(self) -> TeacherConfig | None:
        """Config of the teacher's training; None if the teacher is given."""
        stage = self.teacher_training
        return None if stage is None else TeacherConfig(**self._shared(stage, "teacher"), model=stage.model)

    def distillation(self) -> DistillConfig:
        """Config of the distillation."""
        own = self._shared(self.student, "student")
        return DistillConfig(
            **own, student=self.student.model, teacher=self.teacher_weights, distill=self.student.distill
        )

    def cutting(self) -> PruneConfig:
        """Config of the chain of cuts."""
        return PruneConfig(
            **self._shared(self.cut, "cut"),
            **field_values(self.cut, CutSpec),
            student=ModelSpec(name=str(Path(self.run_dir) / "student" / "model.safetensors")),
            teacher=self.teacher_weights,
            distill=self.cut.distill or self.student.distill,
            first_epoch=self.student.epochs,
        )

    def _code(self) -> tuple[str, ...]:
        """Return all code of the user's own, for later stages, which load what earlier ones saved."""
        models = [self.student.model, *([] if self.teacher_training is None else [self.teacher_training.model])]
        return tuple(dict.fromkeys([*listed(self.network), *(m.name for m in models if is_code(m.name))]))

    def _shared(self, stage: Stage, name: str) -> dict[str, Any]:
        own = {
            "run_dir": str(Path(self.run_dir) / name),
            "data": stage.data(self.data),
            "track": replace(self.track, group=self.track.group or Path(self.run_dir).name),
            "network": self._code(),
        }
        return field_values(self, RunSpec) | field_values(stage, Recipe) | own
