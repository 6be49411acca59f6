"""Photographs turned by EXIF: every orientation is right on a CPU, and a wrong one is found."""

import numpy as np
import pytest

from gpu_parts import column, small
from launch.bench.gpu.parts import exif
from launch.bench.gpu.parts.rendering import Renderer
from launch.bench.work import LeftOut

TITLE = "Against host on the CPU"


def test_every_executor_turns_and_crops_the_eight_orientations(tmp_path):
    found = exif.run(small(tmp_path), "exif")
    assert column(found, TITLE, "orientations") == [8] * 8 and not found.faults and not found.left_out
    assert column(found, TITLE, "view") == ["whole"] * 4 + ["corner"] * 4
    assert max(column(found, TITLE, "of the worst")) < 1.5


@pytest.mark.parametrize("turn", [np.flipud, np.fliplr, np.transpose])
def test_an_executor_that_turns_otherwise_is_a_fault(tmp_path, monkeypatch, turn):
    """The control, and an executor that cannot be had."""
    real = Renderer.levels

    def wrong(self, view, batch):
        if self.spec.executor == "dali":
            raise LeftOut("DALI is not installed")
        images = real(self, view, batch)
        if self.spec.executor == "resident":
            images[3] = np.stack([turn(images[3, :, :, c]) for c in range(3)], axis=2)
        return images

    monkeypatch.setattr(Renderer, "levels", wrong)
    found = exif.run(small(tmp_path), "exif")
    turned = column(found, TITLE, "wrong")
    assert turned[0] == turned[2] == "" and turned[1] == turned[3] != ""
    assert len(found.faults) == 2 and f"resident, whole: {exif.WRONG}: orientation {turned[1]}" in found.faults
    assert set(found.left_out) == {"dali from files", "dali from the canvas"}


def test_the_worst_and_the_wrong_ones_are_named():
    assert exif.summary({1: 0.5, 3: 60.0, 2: 9.0}) == [3, pytest.approx(23.17, abs=0.01), 60.0, 3, "2, 3"]
