"""Config of train.evaluate. Free of torch, so that --help and config errors answer at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from configs.errors import require
from data_pipes.spec import LARGEST_BATCH, DataSpec
from models.own.code import Names, require_code
from train.config import Tta
from train.loss.config import TeacherSize


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateConfig:
    """Exact metrics of a saved network."""

    run_dir: str | None = None
    """Folder of the run whose weights are evaluated; the report is written there too. Not needed with weights."""
    weights: str | None = None
    """A .safetensors file, which needs no run folder; with run_dir, it is evaluated instead of the run's own."""
    data: DataSpec
    """Where the images are. Without --config, the run's own config.yaml says, or, with weights alone, the layout of
    data.root. How images are resized and normalised, the weights' file says."""
    network: Names = ()
    """Code that a saved file needs whose network is of your own: PATH/my_net.py:StudentNet, or a list. That of the run
    itself need not be named."""
    teacher: str | None = None
    """A teacher whose agreement with the model is measured too: a file, or published weights (timm/NAME)."""
    teacher_size: TeacherSize | None = None
    """Size of the images that the teacher sees: the student's, or its own. null: distill.teacher_size of the run."""
    split: Literal["auto", "train", "validation", "test", "all"] = "auto"
    """auto: test where the data set has labels for it, otherwise validation; of a folder without splits that the
    network was not trained on, all. all: every labelled image of a folder."""
    tta: Tta = "none"
    """hflip: mean probabilities of each image and its mirror image, as train.predict --tta hflip answers."""
    output: str | None = None
    """JSON file of the report. null: evaluation-SPLIT.json in the run folder. Of other weights or other data than the
    run's own, with tta, and in the working directory without a run, the name says which."""
    batch_size: int = 256
    """Samples of one forward pass of each process."""

    def __post_init__(self) -> None:
        require_code("network", self.network)
        require(1 <= self.batch_size <= LARGEST_BATCH, "batch_size", self.batch_size, f"from 1 to {LARGEST_BATCH:,}")
        given = self.run_dir is not None or self.weights is not None
        require(given, "weights", None, "a saved .safetensors file, unless run_dir names a run's folder")
