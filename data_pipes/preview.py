"""A contact sheet of what the network will see: python -m data_pipes.preview --config configs/food11/distill.yaml

One row per image: the evaluation view first, then its training views 0, 1, 2, ...
"""

from __future__ import annotations

import sys
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
    """Rows of the sheet, spread over the split."""
    views: int = 7
    """Training views of each image."""
    seed: int = 0
    """The run's seed, so that the views are the run's own."""
    output: str = "preview.png"
    """PNG file to write."""

    def __post_init__(self) -> None:
        require(self.images >= 1, "images", self.images, "at least 1")
        require(self.views >= 0, "views", self.views, "at least 0")
        require(0 <= self.seed < MAX_SEED, "seed", self.seed, "in [0, 2^63)")
        require(self.output.endswith(".png"), "output", self.output, "the name of a .png file")


def main() -> None:
    """Read the config, then draw the sheet."""
    config = reader.read(
        PreviewConfig,
        prog="python -m data_pipes.preview",
        description="Draw a contact sheet of what the network will see.",
        other_sections=True,
    )
    from data_pipes import contact_sheet  # torch is loaded only for a config that holds
    from data_pipes.sources import source

    samples = source.load(config.data, config.split)
    sheet = contact_sheet.draw(config.data, samples, images=config.images, views=config.views, seed=config.seed)
    Path(config.output).parent.mkdir(parents=True, exist_ok=True)
    sheet.save(config.output)
    sys.stdout.write(printable(f"{config.output}: {sheet.width} x {sheet.height} pixels\n"))


if __name__ == "__main__":
    reader.command(main)
