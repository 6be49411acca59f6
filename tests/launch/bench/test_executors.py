"""Executors as variants of the bench."""

from dataclasses import replace

import numpy as np
import pytest

from bench_work import DIGITS, EVERY, PADDED, work_of
from data_pipes.spec import AugmentSpec
from launch.bench import executors

# torchvision 0.29 announces that its decoders will leave.
pytestmark = pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")


def test_an_executor_is_given_every_image_of_every_pass_in_new_views():
    work = work_of(DIGITS, images=16)
    variant = executors.Planned(work, work.spec)
    given = list(variant._batches(32))
    variant.close()
    for half in (given[:4], given[4:]):
        assert sorted(np.concatenate([row_B for row_B, _ in half])) == list(range(16))
    first, second = (np.concatenate([plan_B.matrix_N23 for _, plan_B in half]) for half in (given[:4], given[4:]))
    assert not np.array_equal(first, second)


def test_crop_flips_and_erasing_alone():
    assert executors.crop_flip_erase(EVERY).crop_scale == (0.5, 1.0)
    assert executors.crop_flip_erase(PADDED).crop_padding == 2
    for augment in (EVERY, PADDED, AugmentSpec()):
        plain = executors.crop_flip_erase(augment)
        assert plain.erase == plain.horizontal_flip == plain.vertical_flip == 0.5
        assert plain.crop_scale or plain.crop_padding
        assert plain == replace(AugmentSpec(), **{key: getattr(plain, key) for key in (
            "crop_scale", "crop_ratio", "crop_padding", "horizontal_flip", "vertical_flip", "erase")})  # fmt: skip
