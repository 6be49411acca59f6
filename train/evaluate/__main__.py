"""Exact metrics of a saved network: python -m train.evaluate --run_dir runs/digits/distill"""

from __future__ import annotations

from collections.abc import Sequence

from configs import arguments, reader
from train.evaluate.config import EvaluateConfig
from train.run_folder.own_config import with_own_config


def main(argv: Sequence[str] | None = None) -> None:
    """Read the config, then evaluate."""
    words = arguments.take("train.evaluate", argv)
    config = reader.read(
        EvaluateConfig,
        with_own_config(words),
        prog="python -m train.evaluate",
        description="Measure a saved network: top-1, top-5, per class, confusion, agreement with a teacher.",
        other_sections=True,
    )
    from train.evaluate.score_sheet import score  # torch is loaded only for a config that holds

    score(config, teacher_asked_for=any(word.partition("=")[0] == "--teacher" for word in words))


if __name__ == "__main__":
    reader.command(main)
