"""A contact sheet of what the network will see: python -m data_pipes.preview --config configs/food11/distill.yaml

The config may be a run's own, RUN/config.yaml. One row per image: the evaluation view first, then its training
views 0, 1, 2, ...
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from configs import reader
from configs.errors import require
from configs.shown import printable
from data_pipes.spec import MAX_SEED, DataSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class PreviewConfig:
    """Which images and views to draw."""

    data: DataSpec
    """Data set and augmentation: the section of a training config."""
    split: Literal["train", "validation", "test", "evaluation"] = "train"
    """Which split. evaluation: the images without labels."""
    images: int = 8
    """Rows of the sheet, spread over the classes."""
    columns: int = 7
    """Training views of each image, beside the evaluation view; no more than `views`."""
    views: int | None = None
    """How many different views the run shows, as in its config. null: a new one each epoch."""
    seed: int = 0
    """The run's seed, so that the views are the run's own."""
    view_seed: int | None = None
    """The run's view_seed. null: seed."""
    output: str = "preview.png"
    """PNG file to write."""

    def __post_init__(self) -> None:
        require(self.images >= 1, "images", self.images, "at least 1")
        require(self.columns >= 0, "columns", self.columns, "at least 0")
        require(self.views is None or self.views >= 1, "views", self.views, "at least 1, or null")
        for key in ("seed", "view_seed"):
            value = getattr(self, key)
            require(value is None or 0 <= value < MAX_SEED, key, value, "in [0, 2^63)")
        require(self.output.endswith(".png"), "output", self.output, "the name of a .png file")

    @property
    def plan_seed(self) -> int:
        """Seed of the views."""
        return self.seed if self.view_seed is None else self.view_seed

    @property
    def shown_views(self) -> int:
        """Number of training views to draw."""
        return self.columns if self.views is None else min(self.columns, self.views)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the config, then draw the sheet."""
    config = reader.read(
        PreviewConfig,
        argv,
        prog="python -m data_pipes.preview",
        description="Draw a contact sheet of what the network will see.",
        other_sections=True,
    )
    from data_pipes import contact_sheet  # torch is loaded only for a config that holds
    from data_pipes.sources import source

    samples = source.load(config.data, config.split)
    shown = {"images": config.images, "views": config.shown_views, "seed": config.plan_seed}
    sheet = contact_sheet.draw(config.data, samples, **shown)
    Path(config.output).parent.mkdir(parents=True, exist_ok=True)
    sheet.save(config.output)
    sys.stdout.write(printable(f"{config.output}: {sheet.width} x {sheet.height} pixels\n"))


if __name__ == "__main__":
    reader.command(main)
