"""Distillation: python -m train.distill --config configs/digits/distill.yaml"""

from __future__ import annotations

if __name__ == "__main__":  # before slower imports
    from configs import stopping

    stopping.install()

from collections.abc import Sequence

from configs import arguments, reader
from train.config import DistillConfig


def main(argv: Sequence[str] | None = None) -> None:
    """Read the config, then distil."""
    description = "Distil a teacher into a small student."
    words = arguments.take("train.distill", argv)
    config = reader.read(DistillConfig, words, prog="python -m train.distill", description=description)
    from train.adopt import preflight  # torch is loaded only for a config that holds

    preflight.require_fit(
        config.data, config.run_dir, teacher=config.teacher_file, network=config.trained, config=config
    )
    from train.stage.run import run

    run(config, "distill")


if __name__ == "__main__":
    reader.command(main)
