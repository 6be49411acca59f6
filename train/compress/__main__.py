"""All stages from one config: python -m train.compress --config configs/digits/compress.yaml"""

from __future__ import annotations

if __name__ == "__main__":  # before slower imports
    from configs import stopping

    stopping.install()

from collections.abc import Sequence

from configs import arguments, reader
from train.compress.config import CompressConfig


def main(argv: Sequence[str] | None = None) -> None:
    """Read the config, then train, distil, cut, evaluate and export what is not there yet."""
    description = "Train a teacher, distil it into a student, cut that to a budget, evaluate it, write it as ONNX."
    words = arguments.take("train.compress", argv)
    config = reader.read(CompressConfig, words, prog="python -m train.compress", description=description)
    from train.adopt import preflight  # torch is loaded only for a config that holds

    preflight.require_fit(
        config.data, config.run_dir, teacher=config.teacher, network=config.student.model, config=config
    )
    from train.compress.chain import run  # torch is loaded only for a config that holds

    run(config)


if __name__ == "__main__":
    reader.command(main)
