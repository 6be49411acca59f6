"""Teacher logits on disk: python -m train.cache --config CONFIG --distill.cache FOLDER --views 16"""

from __future__ import annotations

if __name__ == "__main__":  # before slower imports
    from configs import stopping

    stopping.install()

from collections.abc import Sequence

from configs import arguments, reader
from train.cache.config import CacheConfig


def main(argv: Sequence[str] | None = None) -> None:
    """Read the config, then fill, verify or repair the cache."""
    words = arguments.take("train.cache", argv)
    config = reader.read(
        CacheConfig,
        words,
        prog="python -m train.cache",
        description="Keep a teacher's logits for K views of the training split, for train.distill and train.prune.",
        other_sections=True,
    )
    from train.adopt import preflight  # torch is loaded only for a config that holds

    preflight.require_fit(config.data, config.run_dir, teacher=config.teacher_file, network=None)
    from train.cache.fill import run  # torch is loaded only for a config that holds

    run(config, arguments.last_value(words, "--run_dir"))


if __name__ == "__main__":
    reader.command(main)
