"""Supervised training: python -m train.teacher --config configs/digits/teacher.yaml"""

from __future__ import annotations

from configs import reader, stopping
from train.config import TeacherConfig


def main() -> None:
    """Read the config, then train."""
    description = "Train a network on labels, as a teacher."
    config = reader.read(TeacherConfig, prog="python -m train.teacher", description=description)
    from train.adopt import preflight  # torch is loaded only for a config that holds

    preflight.require_fit(config.data, config.run_dir, teacher=config.teacher_file, network=config.trained)
    from train.stage.run import run

    run(config, "teacher")


if __name__ == "__main__":
    stopping.install()
    reader.command(main)
