"""All stages from one config: python -m train.compress --config configs/digits/compress.yaml"""

from __future__ import annotations

from configs import reader, stopping
from train.compress.config import CompressConfig


def main() -> None:
    """Read the config, then train, distil, cut, evaluate and export what is not there yet."""
    description = "Train a teacher, distil it into a student, cut that to a budget, evaluate it, write it as ONNX."
    config = reader.read(CompressConfig, prog="python -m train.compress", description=description)
    from train.adopt import preflight  # torch is loaded only for a config that holds

    preflight.require_fit(config.data, config.run_dir, teacher=config.teacher, network=config.student.model)
    from train.compress.chain import run  # torch is loaded only for a config that holds

    run(config)


if __name__ == "__main__":
    stopping.install()
    reader.command(main)
