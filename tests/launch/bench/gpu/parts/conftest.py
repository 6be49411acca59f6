"""Fixtures of these tests."""

import pytest

from gpu_parts import Started
from launch.bench.gpu.parts import recipes


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEARTCUT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def forked_training(monkeypatch):
    """Training commands are forked, which spares each of them the seconds of importing torch."""
    monkeypatch.setattr(recipes, "start", Started)
