"""Digits of scikit-learn, and what all readers of arrays say about a missing data set."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from configs.errors import UsageError
from data_pipes.sources import cifar, idx
from data_pipes.sources.arrays import digits


def test_digits_fill_the_range():
    content = digits()
    assert content.pixel_NHWC.shape == (1797, 8, 8, 1) and content.pixel_NHWC.dtype == np.uint8
    assert content.label_N.dtype == np.int64 and np.bincount(content.label_N).min() > 170
    levels = np.unique(content.pixel_NHWC)
    assert levels.tolist() == np.rint(np.arange(17) * 255 / 16).astype(int).tolist()


def test_digits_without_sklearn_say_what_to_install(monkeypatch):
    digits.cache_clear()
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(UsageError, match="digits needs scikit-learn: pip install scikit-learn"):
        digits()


@pytest.mark.parametrize(
    ("read", "looked_for"),
    [
        (lambda root: idx.read(root, "train"), "FashionMNIST/raw/train-images-idx3-ubyte.gz"),
        (lambda root: cifar.cifar10(root, "test"), "cifar-10-batches-py/test_batch"),
        (lambda root: cifar.cifar10_1(root, "v4"), "cifar10.1_v4_data.npy"),
    ],
)
def test_a_missing_data_set_says_what_was_looked_for(tmp_path, read, looked_for):
    with pytest.raises(UsageError, match=r"data\.root .* Looked for: ") as error:
        read(tmp_path / "nowhere")
    assert looked_for in str(error.value)


def test_a_root_that_is_one_folder_too_high_names_the_folder_below(tmp_path):
    below = tmp_path / "cifar" / "cifar-10-batches-py"
    below.mkdir(parents=True)
    (below / "test_batch").touch()
    (tmp_path / "other").mkdir()
    with pytest.raises(UsageError, match=r"does not hold the data set, a folder in it does: set data.root: \S+/cifar$"):
        cifar.cifar10(tmp_path, "test")
    with pytest.raises(UsageError, match="Looked for: "):
        cifar.cifar10(tmp_path, "train")
