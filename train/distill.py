"""Distillation: python -m train.distill --config configs/digits/distill.yaml"""

from __future__ import annotations

from configs import reader, stopping
from train.config import DistillConfig


def main() -> None:
    """Read the config, then distil."""
    description = "Distil a teacher into a small student."
    config = reader.read(DistillConfig, prog="python -m train.distill", description=description)
    from train.stage.run import run  # torch is loaded only for a config that holds

    run(config, "distill")


if __name__ == "__main__":
    stopping.install()
    reader.command(main)
