"""Config of train.evaluate. Free of torch, so that --help and config errors answer at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from configs.errors import require
from data_pipes.spec import DataSpec
from train.loss.config import TeacherSize


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateConfig:
    """Exact metrics of a saved network."""

    run_dir: str
    """Folder of the run whose weights are evaluated; the report is written there too."""
    data: DataSpec
    """Where the images are. Without --config, the run's own config.yaml says. How they are resized and normalised, the
    weights' file says."""
    weights: str | None = None
    """A .safetensors file to evaluate instead of the run's own."""
    teacher: str | None = None
    """A .safetensors file whose agreement with the model is measured too."""
    teacher_size: TeacherSize | None = None
    """Size of the images that the teacher sees: the student's, or its own. null: distill.teacher_size of the run."""
    split: Literal["auto", "train", "validation", "test"] = "auto"
    """auto: test where the data set has labels for it, otherwise validation."""
    batch_size: int = 256
    """Samples of one forward pass of each process."""

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
