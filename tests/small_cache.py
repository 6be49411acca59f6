"""Small caches of teacher logits. N samples, R of a block, K classes."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np

from data_pipes.logits.cache import LogitCache
from data_pipes.logits.codec import Codec

SAMPLES, CLASSES, ROWS, BLOCKS = 50, 7, 16, 4  # the last block has 2 rows
CODECS = [Codec("float32"), Codec("float16"), Codec("top_k", 3)]
FLOAT16 = CODECS[1]
SHA, OTHER_SHA = "3f2a9c1b2d3e" + "0" * 52, "99e1c0ffee11" + "f" * 52
IDENTITY = {
    "plan": {"seed": 7, "crc_32": [1, 2, 3], "spec": {"mixup": 0.2, "zoom": (1, 1), "flip": True}},
    "teacher": {"architecture": "resnet18", "sha256": SHA, "dtype": None},
    "classes": ("Bread", "Dairy", "Dessert", "Egg", "Fried", "Meat", "Rice"),
}


def create(folder: Path, codec: Codec = FLOAT16, identity=IDENTITY, **shape) -> LogitCache:
    shape = {"samples": SAMPLES, "classes": CLASSES, "codec": codec, "rows_per_block": ROWS, **shape}
    return LogitCache.create(folder, identity, **shape)


def logits(cache: LogitCache, view: int) -> np.ndarray:
    shape = cache.layout.samples, cache.layout.classes
    return np.random.default_rng(view).normal(0, 4, shape).astype(np.float32)


def fill(cache: LogitCache, views=(0, 1), pause: float = 0.0) -> list[tuple[int, int]]:
    """Fill views as train.cache does; the blocks that this call computed."""
    made = []
    for view in views:
        for block in cache.missing(view):
            with cache.claim(view, block) as ours:
                if ours:
                    time.sleep(pause)
                    cache.write(view, block, logits(cache, view)[cache.blocks[block]])
                    made.append((view, block))
        cache.finish(view)
    return made


def tree(folder: Path) -> dict[str, bytes]:
    """Content of all files but the locks, by name."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "locks")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def block_file(folder: Path, view: int, block: int) -> Path:
    return folder / f"view-{view:04d}" / f"block-{block:05d}.logits"


def changed(**leaves) -> dict:
    """IDENTITY with some leaves replaced; `__` stands for a dot."""
    identity = json.loads(json.dumps(IDENTITY))
    for name, value in leaves.items():
        *path, last = name.split("__")
        owner = identity
        for key in path:
            owner = owner[key]
        owner[last] = value
    return identity
