"""Config of train.predict. Free of torch, so that --help and config errors answer at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from configs.errors import require
from data_pipes.spec import DataSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictConfig:
    """Predictions for images without labels."""

    run_dir: str
    """Folder of the run whose weights are used."""
    data: DataSpec
    """Where images are and how they are loaded. Without --config, the run's own config.yaml says."""
    weights: str | None = None
    """A .safetensors file to use instead of the run's own."""
    images: str | None = None
    """A folder of images, or one image. null: the data set's evaluation split."""
    output: str | None = None
    """CSV file with the columns Id,Category. null: predictions.csv in the run folder."""
    category: Literal["index", "name"] = "index"
    """What the column Category holds: the class number, or its name."""
    batch_size: int = 256
    """Images of one forward pass."""

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
