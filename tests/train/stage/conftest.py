"""A teacher for the runs of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from digit_runs import teach


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    assert teach(folder / "run", "--epochs", "3")["accuracy"] > 0.3
    return folder / "run" / "model.safetensors"
