"""Caches of two complete views."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from small_cache import create, fill, tree


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    """A cache of two complete views; not to be changed."""
    folder = tmp_path_factory.mktemp("uninterrupted") / "cache"
    fill(create(folder))
    return folder


@pytest.fixture
def folder(tmp_path, uninterrupted) -> Path:
    """A copy of it."""
    return shutil.copytree(uninterrupted, tmp_path / "cache")


@pytest.fixture
def whole(uninterrupted) -> dict[str, bytes]:
    """Its files."""
    return tree(uninterrupted)
