"""Cuts to a budget with training in between: python -m train.prune --config configs/digits/prune.yaml"""

from __future__ import annotations

if __name__ == "__main__":  # before slower imports
    from configs import stopping

    stopping.install()

from collections.abc import Sequence

from configs import arguments, reader
from train.prune.config import PruneConfig


def main(argv: Sequence[str] | None = None) -> None:
    """Read the config, then cut and train in turn."""
    description = "Cut a trained student to a budget, and train it after each cut."
    words = arguments.take("train.prune", argv)
    config = reader.read(PruneConfig, words, prog="python -m train.prune", description=description)
    from train.adopt import preflight  # torch is loaded only for a config that holds

    preflight.require_fit(
        config.data, config.run_dir, teacher=config.teacher_file, network=config.trained, config=config
    )
    from train.prune.chain import run  # torch is loaded only for a config that holds

    run(config)


if __name__ == "__main__":
    reader.command(main)
