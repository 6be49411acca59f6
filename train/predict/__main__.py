"""Predictions for images: python -m train.predict --weights student.safetensors --images photos/"""

from __future__ import annotations

from configs import reader
from train.predict.config import PredictConfig
from train.run_folder.own_config import with_own_config


def main() -> None:
    """Read the config, then predict."""
    config = reader.read(
        PredictConfig,
        with_own_config(),
        prog="python -m train.predict",
        description="Predict a folder or a split of images to a CSV file, or show one image's five best classes.",
        other_sections=True,
    )
    from train.predict.prediction import predict  # torch is loaded only for a config that holds

    predict(config)


if __name__ == "__main__":
    reader.command(main)
