"""The Food-11 course layout, as every year's tree has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.errors import InputError, UsageError
from data_pipes.sources.food11 import FOOD11_CLASSES, food11


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"")
    return root


def paths_of(files) -> list[str]:
    return [path for path, _ in files]


def test_food11(tmp_path):
    touch(tmp_path, *(f"training/{label}_{i}.jpg" for label in range(11) for i in (0, 10, 9)))
    touch(tmp_path, "validation/10_1.jpg", "validation/3_0.JPG", "training/.hidden.jpg", "training/notes.txt")
    touch(tmp_path, *(f"evaluation/{i}.jpg" for i in range(12)))
    listing = food11(tmp_path)
    assert listing.classes == FOOD11_CLASSES and set(listing.files) == {"train", "validation", "evaluation"}
    assert listing.files["validation"] == (("validation/3_0.JPG", 3), ("validation/10_1.jpg", 10))
    assert listing.files["evaluation"] == tuple((f"evaluation/{i}.jpg", -1) for i in range(12))
    assert paths_of(listing.files["train"])[:4] == [f"training/0_{i}.jpg" for i in (0, 9, 10)] + ["training/1_0.jpg"]
    assert len(listing.files["train"]) == 33


def test_food11_class_names(tmp_path):
    touch(tmp_path, "training/0_0.jpg", "training/2_0.jpg", "evaluation/7.jpg")
    assert food11(tmp_path).classes == ("0", "1", "2")
    (tmp_path / "classes.txt").write_text("\ufeffpie\r\n\nwaffle \nsoup\n", encoding="utf-8")
    assert food11(tmp_path).classes == ("pie", "waffle", "soup")
    (tmp_path / "classes.txt").write_text("pie\nwaffle")
    with pytest.raises(InputError, match=r"training/2_0.jpg is of class 2, but .*classes.txt names 2 classes"):
        food11(tmp_path)
    (tmp_path / "classes.txt").write_text("pie\npie\nsoup")
    with pytest.raises(InputError, match="named twice"):
        food11(tmp_path)
    (tmp_path / "classes.txt").write_bytes(b"caf\xe9\npie\nsoup")
    with pytest.raises(InputError, match=r"classes.txt is not UTF-8 .* at byte 3\)"):
        food11(tmp_path)


def test_food11_of_evaluation_only_has_no_classes(tmp_path):
    assert food11(touch(tmp_path, "evaluation/0.jpg")).classes == ()


@pytest.mark.parametrize("name", ["cake.jpg", "3.jpg", "-1_2.jpg", "_3.jpg", "9999999_1.jpg"])
def test_food11_refuses_other_names(tmp_path, name):
    touch(tmp_path, "training/0_0.jpg")
    food11(tmp_path)
    touch(tmp_path, f"training/{name}")
    with pytest.raises(InputError, match=f"{name}: a Food-11 file is named"):
        food11(tmp_path)


def test_food11_missing_or_empty(tmp_path):
    with pytest.raises(UsageError, match=r"data\.root .*nowhere is not a folder; .*training/3_17.jpg"):
        food11(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="none of the folders training/"):
        food11(tmp_path)
    touch(tmp_path, "training/0_0.jpg", "validation/readme.txt")
    with pytest.raises(InputError, match="validation holds no image"):
        food11(tmp_path)


@pytest.mark.data("food10")
def test_food10(data_root):
    listing = food11(data_root)
    assert listing.classes[0] == "apple_pie" and len(listing.classes) == 10
    assert {split: len(files) for split, files in listing.files.items()} == {
        "train": 2400,
        "validation": 600,
        "evaluation": 250,
    }
    assert paths_of(listing.files["evaluation"]) == [f"evaluation/{i:04}.jpg" for i in range(250)]


def test_food11_names_are_composed(tmp_path):
    touch(tmp_path, "training/1_0.jpg")
    (tmp_path / "classes.txt").write_text("cafe\u0301\ncake", encoding="utf-8")
    assert food11(tmp_path).classes == ("caf\u00e9", "cake")
    (tmp_path / "classes.txt").write_text("cafe\u0301\ncaf\u00e9", encoding="utf-8")
    with pytest.raises(InputError, match="named twice"):
        food11(tmp_path)


def test_every_years_tree_is_read(tmp_path):
    """2021 has testing/ with labels or without, 2022 test/, 2023 evaluation/; the tree may be one folder down."""
    named = touch(tmp_path / "2021", "training/0_1.jpg", "training/3_17.JPG", "validation/3_1.jpg", "testing/3_0.jpg")
    assert food11(named).files["test"] == (("testing/3_0.jpg", 3),)
    for year, folder in (("2021b", "testing"), ("2022", "test"), ("2023", "evaluation"), ("own", "Evaluation")):
        root = touch(tmp_path / year, "training/0_1.jpg", "training/1_1.jpg", "validation/1_0.jpg")
        touch(root, *(f"{folder}/{i:04}.jpg" for i in range(11)), "teacher.ckpt", f"{folder}/.ipynb_checkpoints/a.jpg")
        listing = food11(root)
        assert paths_of(listing.files["evaluation"]) == [f"{folder}/{i:04}.jpg" for i in range(11)]
        assert set(listing.files) == {"train", "validation", "evaluation"}
    outer = touch(tmp_path / "input", "Food-11/training/0_1.jpg", "Food-11/evaluation/0.jpg")
    with pytest.raises(UsageError, match=r"none of the folders .*; set data\.root: .*input/Food-11"):
        food11(outer)


def test_names_of_a_test_folder_are_labels_only_if_all_are_of_known_classes(tmp_path):
    root = touch(tmp_path, "training/0_1.jpg", "training/1_1.jpg", "evaluation/2023_01.jpg", "evaluation/2023_02.jpg")
    listing = food11(root)
    assert listing.classes == ("0", "1") and len(listing.files["evaluation"]) == 2
    touch(root, "evaluation/1_5.jpg")
    with pytest.raises(InputError, match=r"evaluation mixes images with a label, such as evaluation/1_5.jpg, and with"):
        food11(root)


def test_a_labelled_and_an_unlabelled_folder_are_two_splits(tmp_path):
    root = touch(tmp_path, "training/0_1.jpg", "training/1_1.jpg", "testing/1_2.jpg", "evaluation/0000.jpg")
    assert set(food11(root).files) == {"train", "test", "evaluation"}
    touch(root, "test/0_5.jpg")
    with pytest.raises(InputError, match="evaluation and test and testing; keep one test folder"):
        food11(root)


def test_an_absurd_class_number_is_refused_by_name(tmp_path):
    touch(tmp_path, *(f"training/{label}_1.jpg" for label in (0, 3, 10)), "validation/0_1.jpg")
    food11(tmp_path)
    touch(tmp_path, "training/999999_1.jpg")
    with pytest.raises(InputError, match=r"999999_1.jpg is of class 999999, and there are images of 4 classes"):
        food11(tmp_path)


def test_some_classes_may_lack_images(tmp_path):
    touch(tmp_path, "training/0_1.jpg", "training/100_1.jpg", "validation/0_1.jpg")
    assert len(food11(tmp_path).classes) == 101
