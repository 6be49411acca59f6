"""What every test of training needs: a process as new."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from accelerate.state import AcceleratorState, GradientState


@pytest.fixture(autouse=True)
def as_in_a_new_process() -> Iterator[None]:
    """Accelerate keeps one state per process and a command sets up logging once; here many share a process."""
    root, packages = logging.getLogger(), [logging.getLogger(name) for name in ("data_pipes", "models", "train")]
    kept, levels = (root.handlers[:], root.level), [package.level for package in packages]
    _forget_accelerate()
    yield
    _forget_accelerate()
    root.handlers[:], root.level = kept
    for package, level in zip(packages, levels, strict=True):
        package.setLevel(level)


def _forget_accelerate() -> None:
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
