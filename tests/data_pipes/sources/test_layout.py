"""The layout of a data set, by the names of its folders and files."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_pipes.sources.layout import like_a_split, source_of, split_of


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


@pytest.mark.parametrize(
    ("names", "split"),
    [
        ("train Train TRAINING", "train"),
        ("val valid Validation dev", "validation"),
        ("test Testing evaluation Eval", "test"),
        ("dog trainer tests holdout labeled", None),
    ],
)
def test_splits_are_known_in_every_spelling(names, split):
    assert {split_of(name) for name in names.split()} == {split}
    assert like_a_split("Unlabeled") and like_a_split("Val") and not like_a_split("dog")


@pytest.mark.parametrize(
    ("source", "paths"),
    [
        ("idx", ["FashionMNIST/raw/t10k-images-idx3-ubyte.gz"]),
        ("idx", ["train-images-idx3-ubyte"]),
        ("cifar10", ["cifar-10-batches-py/test_batch"]),
        ("cifar10", ["test_batch"]),
        ("cifar10.1", ["datasets/cifar10.1_v6_data.npy"]),
        ("food11", ["training/3_17.jpg", "evaluation/0000.jpg"]),
        ("food11", ["Validation/0_1.JPG"]),
        ("folder", ["train/dog/1_1.jpg", "train/cat/1.jpg"]),
        ("folder", ["dog/1_1.jpg"]),
        ("folder", ["train/.hidden/1_1.jpg", "train/.1_1.jpg"]),
        ("folder", []),
    ],
)
def test_the_source_is_recognised(tmp_path, source, paths):
    assert source_of(touch(tmp_path, *paths)) == source


def test_what_is_not_there_is_left_to_the_source_to_refuse(tmp_path):
    assert source_of(tmp_path / "nowhere") == source_of(touch(tmp_path, "file") / "file") == "folder"


@pytest.mark.data
def test_real_data_sets_are_recognised(data_root):
    found = {name: source_of(data_root / name) for name in ("food10", "fashion_mnist") if (data_root / name).is_dir()}
    assert found and found.items() <= {"food10": "food11", "fashion_mnist": "idx"}.items()
