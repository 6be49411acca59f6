"""Distillation: python -m train.distill --config configs/digits/distill.yaml"""

from __future__ import annotations

from configs import reader, stopping
from train.config import DistillConfig


def main() -> None:
    """Read the config, then distil."""
    description = "Distil a teacher into a small student."
    config = reader.read(DistillConfig, prog="python -m train.distill", description=description)
    from train.adopt import preflight  # torch is loaded only for a config that holds

    preflight.require_fit(config.data, config.run_dir, teacher=config.teacher_file, network=config.trained)
    from train.stage.run import run

    run(config, "distill")


if __name__ == "__main__":
    stopping.install()
    reader.command(main)
