"""Fixtures of these tests."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEARTCUT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Twenty-four JPEG files of three classes, of several sizes and orientations."""
    root = tmp_path_factory.mktemp("photographs")
    noise = np.random.default_rng(0)
    for i in range(24):
        path = root / "train" / "abc"[i % 3] / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(noise.integers(0, 256, (5, 7, 3), dtype=np.uint8))
        small.resize((90 + 10 * (i % 3), 80)).save(path, quality=90)
    return root
