"""Supervised training: python -m train.teacher --config configs/digits/teacher.yaml"""

from __future__ import annotations

if __name__ == "__main__":  # before slower imports
    from configs import stopping

    stopping.install()

from collections.abc import Sequence

from configs import arguments, reader
from train.config import TeacherConfig


def main(argv: Sequence[str] | None = None) -> None:
    """Read the config, then train."""
    description = "Train a network on labels, as a teacher."
    words = arguments.take("train.teacher", argv)
    config = reader.read(TeacherConfig, words, prog="python -m train.teacher", description=description)
    from train.adopt import preflight  # torch is loaded only for a config that holds

    preflight.require_fit(
        config.data, config.run_dir, teacher=config.teacher_file, network=config.trained, config=config
    )
    from train.stage.run import run

    run(config, "teacher")


if __name__ == "__main__":
    reader.command(main)
