"""Surroundings without any of wandb's variables."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def _no_wandb_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("sys.argv", ["train.teacher"])
