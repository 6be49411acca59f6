"""Config of train.predict. Free of torch, so that --help and config errors answer at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from configs.errors import require
from data_pipes.spec import LARGEST_BATCH, DataSpec
from models.own.code import Names, require_code
from train.config import Tta

Ids = Literal["name", "index"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictConfig:
    """Predictions for images without labels."""

    run_dir: str | None = None
    """Folder of the run whose weights are used. Not needed with weights."""
    weights: str | None = None
    """A .safetensors file. It holds the size, crop, normalisation and classes, and needs no run folder; with run_dir,
    it is used instead of the run's own."""
    data: DataSpec
    """Where images are and how they are loaded. Without --config, the run's own config.yaml or the header of weights
    says; the source is then recognised by the layout of data.root."""
    network: Names = ()
    """Code that a saved file needs whose network is of your own: PATH/my_net.py:StudentNet, or a list. That of the run
    itself need not be named."""
    images: str | None = None
    """A folder of images, or one image. null: a split of the data set at data.root."""
    split: Literal["auto", "train", "validation", "test", "evaluation", "all"] = "auto"
    """Which split of the data set, if images is null. auto: evaluation, the images without labels."""
    output: str | None = None
    """CSV file. null: predictions.csv in the run folder, or in the working directory where there is none; of a single
    image, nothing is written then."""
    columns: str = "Id,Category"
    """Names of the two columns, such as id,pred."""
    ids: Ids = "name"
    """First column. name: the file's name without its ending (0000 of 0000.jpg), or the row of an array. index: 0, 1,
    2, ... Names are written as they are: a spreadsheet may take one that begins with = + - or @ for a formula."""
    category: Literal["index", "name"] = "index"
    """Second column: the class number, or its name."""
    tta: Tta = "none"
    """hflip: mean probabilities of each image and its mirror image."""
    batch_size: int = 256
    """Images of one forward pass."""

    def __post_init__(self) -> None:
        require_code("network", self.network)
        require(1 <= self.batch_size <= LARGEST_BATCH, "batch_size", self.batch_size, f"from 1 to {LARGEST_BATCH:,}")
        names = self.columns.split(",")
        require(len(names) == 2 and all(n.strip() for n in names), "columns", self.columns, "two names, as id,pred")
        given = self.run_dir is not None or self.weights is not None
        require(given, "weights", None, "a saved .safetensors file, unless run_dir names a run's folder")
        require(
            self.images is None or self.split == "auto", "split", self.split, "auto with images, which is no data set"
        )
