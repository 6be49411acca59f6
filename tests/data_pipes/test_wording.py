"""Augmentation in words."""

import pytest

from data_pipes.spec import AugmentSpec
from data_pipes.wording import augmentations


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (AugmentSpec(), "no augmentation"),
        (AugmentSpec(crop_padding=2, vertical_flip=0.5), "shift up to 2 px, flip upside-down (50 %)"),
        (
            AugmentSpec(crop_scale=(0.35, 1.0), horizontal_flip=0.5, rotation=10, erase=0.25),
            "crop 35 to 100 % of the area, flip left-right (50 %), rotate ±10°, erase a box (25 %)",
        ),
        (
            AugmentSpec(affine=30, translate=(0.1, 0.2), zoom=(0.9, 1.1), shear=5),
            "affine: rotate ±30°, shift 10 % x 20 %, zoom 0.9 to 1.1, shear ±5°",
        ),
        (AugmentSpec(mixup=0.2, cutmix=1.0, mix_probability=0.5), "mixup or cutmix (50 %)"),
        (AugmentSpec(mixup=0.2, mix_probability=0.0), "no augmentation"),
    ],
)
def test_what_is_done_is_named_and_what_is_not_is_not(spec, words):
    assert augmentations(spec) == words
