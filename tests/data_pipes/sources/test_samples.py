from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from data_pipes.sources.images import ArrayImages
from data_pipes.sources.samples import Samples


def samples(n: int = 5, **changes) -> Samples:
    pixel_NHWC = np.random.default_rng(0).integers(0, 256, (n, 4, 6, 1), dtype=np.uint8)
    content = {
        "split": "train",
        "classes": ("a", "b"),
        "key_N": tuple(str(i) for i in range(n)),
        "label_N": np.arange(n) % 2,
        "size_N2": np.tile(np.array([4, 6], np.int32), (n, 1)),
        "row_N": np.arange(n),
        "images": ArrayImages(pixel_NHWC),
    }
    return Samples(**{**content, **changes})


def test_a_selection_shares_the_store():
    whole = samples()
    part = whole.select(np.array([4, 1]), split="validation").select(np.array([1]))
    assert (len(part), part.key_N, part.split, part.label_N.tolist()) == (1, ("1",), "validation", [1])
    assert part.images is whole.images
    assert (part.read(0, channels=1) == whole.read(1, channels=1)).all()
    assert part.read(0, channels=3).shape == (4, 6, 3)
    assert whole.select(np.array([], np.int64)).size_N2.shape == (0, 2)


def test_a_common_size_is_that_of_every_image():
    mixed = np.array([[4, 6], [4, 6], [4, 6], [4, 6], [4, 5]], np.int32)
    assert samples().common_size == (4, 6) and samples(size_N2=mixed).common_size is None
    assert samples(size_N2=mixed).select(np.array([4])).common_size == (4, 5)
    assert samples().select(np.array([], np.int64)).common_size is None


def test_rows_are_spread_over_the_split():
    assert samples(30).spread(4).tolist() == [0, 9, 19, 29] and samples(3).spread(99).tolist() == [0, 1, 2]


def test_labelled():
    assert samples().labelled and not samples(label_N=np.array([0, 1, -1, 0, 1])).labelled


def test_the_fingerprint_is_of_the_content():
    whole = samples()
    assert len(whole.fingerprint) == 64 and whole.fingerprint is whole.fingerprint
    assert whole.fingerprint == samples(split="validation").fingerprint
    # The same five samples at other rows of a larger store.
    larger = samples(images=ArrayImages(np.concatenate([whole.images.pixel_NHWC[:1], whole.images.pixel_NHWC])))
    assert replace(larger, row_N=larger.row_N + 1).fingerprint == whole.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"classes": ("b", "a")},
        {"classes": ('a", "b',)},
        {"key_N": ("0", "1", "2", "3", "5")},
        {"label_N": np.array([1, 0, 1, 0, 1])},
        {"size_N2": np.full((5, 2), 5, np.int32)},
        {"row_N": np.array([1, 0, 2, 3, 4])},
        {"images": ArrayImages(np.zeros((5, 4, 6, 1), np.uint8))},
    ],
)
def test_the_fingerprint_sees_each_part(change):
    assert samples(**change).fingerprint != samples().fingerprint


def test_the_fingerprint_does_not_depend_on_the_width_of_integers():
    assert samples(label_N=(np.arange(5) % 2).astype(np.int32)).fingerprint == samples().fingerprint


def test_lengths_must_agree():
    with pytest.raises(AssertionError):
        samples(label_N=np.zeros(4, np.int64))
    with pytest.raises(AssertionError):
        samples(row_N=np.arange(5) + 1)


def test_samples_are_frozen():
    with pytest.raises(FrozenInstanceError):
        samples().split = "test"
