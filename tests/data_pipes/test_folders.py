from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import InputError, UsageError
from data_pipes.folders import FOOD11_CLASSES, class_folders, food11, unlabelled
from data_pipes.image_files import natural


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"")
    return root


def paths_of(files) -> list[str]:
    return [path for path, _ in files]


def test_natural_order():
    names = ["10.jpg", "2.jpg", "a10b2", "a9b10", "02.jpg", "a9b9", "é1"]
    assert sorted(names, key=natural) == ["02.jpg", "2.jpg", "10.jpg", "a9b9", "a9b10", "a10b2", "é1"]


@given(st.lists(st.text(max_size=8), unique=True))
def test_natural_order_is_total(names):
    backwards = names[::-1]
    assert sorted(names, key=natural) == sorted(backwards, key=natural)


# ---- Food-11


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


# ---- class folders


@pytest.mark.parametrize("validation", ["val", "valid", "validation"])
def test_class_folders(tmp_path, validation):
    touch(tmp_path, "train/dog/2.jpg", "train/dog/10.PNG", "train/cat/deep/er/1.webp", "train/cat/.x.jpg")
    touch(tmp_path, f"{validation}/cat/1.jpg", f"{validation}/dog/1.jpg", "test/cat/a.tif", "test/dog/notes.txt")
    touch(tmp_path, "train/.git/x.jpg", "notes/readme.jpg")
    listing = class_folders(tmp_path)
    assert listing.classes == ("cat", "dog") and list(listing.files) == ["train", "validation", "test"]
    assert listing.files["train"] == (("train/cat/deep/er/1.webp", 0), ("train/dog/2.jpg", 1), ("train/dog/10.PNG", 1))
    assert listing.files["validation"] == ((f"{validation}/cat/1.jpg", 0), (f"{validation}/dog/1.jpg", 1))
    assert listing.files["test"] == (("test/cat/a.tif", 0),)


def test_class_folders_alone_are_train(tmp_path, caplog):
    listing = class_folders(touch(tmp_path, "dog/1.jpg", "cat/1.jpg", "stray.jpg", "README.md"))
    assert listing.files == {"train": (("cat/1.jpg", 0), ("dog/1.jpg", 1))}
    assert "left out are 1 images in no class folder: stray.jpg" in caplog.text and len(caplog.records) == 1


def test_formats_that_the_index_refuses_are_listed_not_lost(tmp_path):
    assert len(class_folders(touch(tmp_path, "cat/1.jpg", "cat/2.gif", "cat/3.heic")).files["train"]) == 3


def test_splits_with_other_classes_are_named(tmp_path):
    touch(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg", "test/cat/1.jpg", "test/dgo/1.jpg")
    with pytest.raises(InputError, match=r"differ in their classes. only in test: dgo; only in train: dog"):
        class_folders(tmp_path)


def test_class_folders_missing_or_empty(tmp_path):
    with pytest.raises(UsageError, match=r"data\.root .* is not a folder"):
        class_folders(tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds no class folder"):
        class_folders(tmp_path)
    touch(tmp_path, "train/cat/1.jpg", "train/dog/readme.txt")
    with pytest.raises(InputError, match=r"train: no image .* of dog"):
        class_folders(tmp_path)
    touch(tmp_path, "train/dog/1.jpg", "val/dog/readme.txt", "val/cat/readme.txt")
    with pytest.raises(InputError, match=r"val: no image .* of cat, dog"):
        class_folders(tmp_path)
    touch(tmp_path, "val/dog/1.jpg", "valid/dog/1.jpg")
    with pytest.raises(InputError, match="val and valid; keep one validation folder"):
        class_folders(tmp_path)


# ---- links


def test_links_that_leave_the_root_are_refused(tmp_path):
    root = touch(tmp_path / "root", "cat/1.jpg", "cat/2.jpg")
    (root / "cat/link.jpg").symlink_to(root / "cat/1.jpg")
    assert len(class_folders(root).files["train"]) == 3  # negative control: a link inside is a file like others
    touch(tmp_path, "outside/secret.jpg")
    (root / "cat/out.jpg").symlink_to("../../outside/secret.jpg")
    with pytest.raises(InputError, match=r"cat/out.jpg links to .*secret.jpg, outside"):
        class_folders(root)


@pytest.mark.parametrize("target", ["outside", "root", "root/cat"])
def test_links_to_folders_are_refused(tmp_path, target):
    root = touch(tmp_path / "root", "cat/1.jpg")
    touch(tmp_path, "outside/secret.jpg")
    (root / "cat/loop").symlink_to(tmp_path / target)
    with pytest.raises(InputError, match="cat/loop links to"):
        class_folders(root)


@pytest.mark.parametrize("read", [class_folders, food11])
def test_a_split_folder_is_no_link(tmp_path, read):
    root, outside = touch(tmp_path / "root", "x"), touch(tmp_path / "outside", "0_1.jpg", "cat/1.jpg")
    (root / ("train" if read is class_folders else "training")).symlink_to(outside)
    with pytest.raises(InputError, match="is a link"):
        read(root)


def test_the_root_itself_may_be_a_link(tmp_path):
    touch(tmp_path / "root", "cat/1.jpg")
    (tmp_path / "link").symlink_to("root")
    assert class_folders(tmp_path / "link").root == (tmp_path / "root").resolve()


# ---- unlabelled


def test_unlabelled(tmp_path):
    touch(tmp_path, "10.jpg", "2.jpg", "sub/1.png", ".x.jpg", "notes.txt")
    assert unlabelled(tmp_path) == (tmp_path.resolve(), ("2.jpg", "10.jpg", "sub/1.png"))
    assert unlabelled(tmp_path / "2.jpg") == (tmp_path.resolve(), ("2.jpg",))
    with pytest.raises(UsageError, match=r"the path .*nowhere is not a folder"):
        unlabelled(tmp_path / "nowhere")
    touch(tmp_path, "empty/readme.txt")
    with pytest.raises(InputError, match="empty holds no image"):
        unlabelled(tmp_path / "empty")
