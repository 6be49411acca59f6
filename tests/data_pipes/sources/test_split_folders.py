"""Folders of splits, and what is said where they are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.errors import InputError
from data_pipes.sources import split_folders
from data_pipes.sources.folders import class_folders
from data_pipes.sources.image_files import Walk


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"")
    return root


def test_every_folder_of_a_split_is_found_and_the_others_are_said(tmp_path, caplog):
    caplog.set_level("INFO")
    touch(tmp_path, "Train/1.jpg", "testing/1.jpg", "evaluation/1.jpg", "docs/1.jpg", ".git/1.jpg", "valid")
    found = split_folders.find(Walk(tmp_path, follow_links=False))
    assert {split: [folder.name for folder in folders] for split, folders in found.items()} == {
        "train": ["Train"],
        "test": ["evaluation", "testing"],
    }
    assert "not read, beside the splits, are the folders docs" in caplog.text
    assert split_folders.only(found["train"], "train") == tmp_path / "Train"
    with pytest.raises(InputError, match="has evaluation and testing; keep one test folder"):
        split_folders.only(found["test"], "test")


def test_data_sets_below_are_those_of_the_nearest_level(tmp_path):
    touch(tmp_path, "a/b/train/1.jpg", "c/1.jpg", "c/d/train/1.jpg", ".hidden/train/1.jpg")
    assert split_folders.data_sets_below(tmp_path) == [tmp_path / "a" / "b"]  # c holds images: a class
    touch(tmp_path, "e/val/1.jpg")
    assert split_folders.data_sets_below(tmp_path) == [tmp_path / "e"]
    assert split_folders.data_sets_below(tmp_path / "nowhere") == []


@pytest.mark.parametrize("inner", ["flowers", "input/flowers"])
def test_a_data_set_further_down_is_pointed_at(tmp_path, inner):
    touch(tmp_path, f"{inner}/train/rose/1.jpg", f"{inner}/Test/rose/1.jpg", "readme.md")
    with pytest.raises(InputError, match=rf"{inner} does: set data\.root: {tmp_path}/{inner}$"):
        class_folders(tmp_path)
    assert class_folders(tmp_path / inner).classes == ("rose",)


def test_splits_below_classes_are_not_taken_for_classes(tmp_path):
    touch(tmp_path, "cat/train/1.jpg", "cat/test/1.jpg", "dog/train/1.jpg")
    with pytest.raises(InputError, match=r"cat, dog hold folders named as splits.* belong above them: train/<class>/"):
        class_folders(tmp_path)
    listing = class_folders(touch(tmp_path / "deep", "cat/1.jpg", "cat/2020/test/2.jpg", "dog/1.jpg"))
    assert listing.classes == ("cat", "dog") and len(listing.files["train"]) == 3  # negative control
