"""The same views by every executor."""

from dataclasses import replace

import numpy as np
import pytest

import reference as pictures
from data_pipes import plan
from data_pipes.spec import AugmentSpec, DataSpec
from launch.bench.gpu.parts import rendering
from launch.bench.gpu.parts.rendering import CPU, Renderer
from launch.bench.work import LeftOut

SPEC = DataSpec(
    source="digits", image_size=(16, 16), mean=(0.5,), std=(0.25,), threads=1,
    augment=AugmentSpec(rotation=20, horizontal_flip=0.5),
)  # fmt: skip


def samples():
    return pictures.in_memory([pictures.picture(20, 20, 1, seed) for seed in range(5)])


def test_executors_are_the_four_and_the_hardware_decoder_where_there_is_one():
    assert list(rendering.executors(SPEC, hardware=False)) == [
        "host", "resident", "dali from files", "dali from the canvas",
    ]  # fmt: skip
    loaded = rendering.executors(SPEC, hardware=True)
    assert [spec.dali.hw_decoder_load for spec in loaded.values() if spec.executor == "dali"] == [0, 0, 0.65]


def test_batches_do_not_change_the_images():
    view = plan.training(0, 0, SPEC.augment, samples().size_N2, SPEC.image_size)
    renderer = Renderer(replace(SPEC, executor="host"), samples(), CPU)
    whole, parts = renderer.levels(view, 5), renderer.levels(view, 2)
    assert whole.shape == (5, 16, 16, 1) and whole.dtype == np.uint8 and np.array_equal(whole, parts)
    assert np.array_equal(whole, rendering.reference(SPEC, samples(), view))


def test_an_executor_that_cannot_be_had_is_left_out():
    spec = rendering.executors(SPEC, hardware=False)["dali from files"]
    view = plan.evaluation(samples().size_N2, 1.0, SPEC.image_size)
    with pytest.raises(LeftOut, match=r"data\.dali\.feed files needs image files"):
        Renderer(spec, samples(), CPU).levels(view, 5)


def test_three_views_with_their_augmentation():
    found = rendering.views(SPEC, samples())
    assert list(found) == ["recipe", "crop, flips, erase", "evaluation"]
    spec, view = found["crop, flips, erase"]
    assert not spec.augment.warps and spec.augment.erase and view.erase_N4.any()


def test_a_gap_in_levels_and_decibels():
    a, b = np.zeros((2, 4, 4, 1), np.uint8), np.full((2, 4, 4, 1), 255, np.uint8)
    assert rendering.gap(a, b) == {"mean": 255, "largest": 255, "decibels": 0}
    assert rendering.gap(a, a) == {"mean": 0, "largest": 0, "decibels": None}
