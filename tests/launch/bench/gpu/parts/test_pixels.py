"""The table of pixels on a CPU, and what it calls a fault."""

import numpy as np
import pytest

from gpu_parts import column, small
from launch.bench.gpu.parts import pixels
from launch.bench.gpu.parts.rendering import Renderer

TITLE = "Against host on the CPU"


@pytest.fixture(autouse=True)
def few_images(monkeypatch):
    monkeypatch.setattr(pixels, "IMAGES", 8)


def test_every_executor_in_every_view(tmp_path):
    found = pixels.run(small(tmp_path), "pixels")
    assert len(column(found, TITLE, "executor")) == 12 and not found.faults and not found.left_out
    assert all(column(found, TITLE, "same again")) and max(column(found, TITLE, "mean levels")) < 1
    decibels = dict(zip(column(found, TITLE, "executor"), column(found, TITLE, "dB"), strict=True))
    assert decibels["host"] is None and decibels["dali from files"] > 45
    assert set(column(found, TITLE, "mean levels from itself on the CPU")) == {None}


def test_pixels_that_are_far_away_or_depend_on_the_batch_are_faults(tmp_path, monkeypatch):
    """The control."""
    real = Renderer.levels

    def wrong(self, view, batch):
        images = real(self, view, batch)
        if self.spec.executor == "dali":
            images = np.roll(images, 2, axis=1)
        if self.spec.executor == "resident":
            images[0, 0, 0, 0] ^= batch == 5
        return images

    monkeypatch.setattr(Renderer, "levels", wrong)
    faults = pixels.run(small(tmp_path), "pixels").faults
    assert "resident, recipe: the pixels of an image depend on its batch" in faults
    assert "dali from files, evaluation: more than 3 levels away" in faults and not any("host" in f for f in faults)
