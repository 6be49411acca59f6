"""Supervised training: python -m train.teacher --config configs/digits/teacher.yaml"""

from __future__ import annotations

from configs import reader
from train.config import TeacherConfig


def main() -> None:
    """Read the config, then train."""
    config = reader.read(TeacherConfig, prog="train.teacher", description="Train a network on labels, as a teacher.")
    from train.outcome import run  # torch is loaded only for a config that holds

    run(config, "teacher")


if __name__ == "__main__":
    reader.command(main)
