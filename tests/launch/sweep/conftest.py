"""Fixtures of these tests."""

from __future__ import annotations

import pytest

from submit_stubs import Cluster

FILE = """\
program: train.distill
command: ["${env}", python, -m, launch.trial, train.distill, --config, distill.yaml, "${args}"]
method: random
metric: {name: validation_accuracy, goal: maximize}
parameters:
  seed: {min: 0, max: 9}
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder with a Slurm of stubs, a sweep file, and no key for wandb."""
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_MODE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    made = Cluster(tmp_path).enter(monkeypatch)
    made.write("w.yaml", FILE)
    return made
