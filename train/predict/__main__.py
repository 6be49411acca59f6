"""Predictions for images: python -m train.predict --weights student.safetensors --images photos/"""

from __future__ import annotations

from collections.abc import Sequence

from configs import arguments, reader
from train.predict.config import PredictConfig
from train.run_folder.own_config import with_own_config


def main(argv: Sequence[str] | None = None) -> None:
    """Read the config, then predict."""
    words = arguments.take("train.predict", argv)
    config = reader.read(
        PredictConfig,
        with_own_config(words),
        prog="python -m train.predict",
        description="Predict a folder or a split of images to a CSV file, or show one image's five best classes.",
        other_sections=True,
    )
    from train.predict.prediction import predict  # torch is loaded only for a config that holds

    predict(config)


if __name__ == "__main__":
    reader.command(main)
