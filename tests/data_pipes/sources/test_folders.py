from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from configs.errors import InputError, UsageError
from data_pipes.sources.folders import class_folders, in_order, unlabelled
from data_pipes.sources.food11 import food11


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"")
    return root


def paths_of(files) -> list[str]:
    return [path for path, _ in files]


# ---- class folders


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [("Train", "Val", "Test"), ("training", "Validation", "testing"), ("TRAINING", "dev", "Evaluation")],
)
def test_splits_are_found_in_every_spelling(tmp_path, train, validation, test):
    listing = class_folders(
        touch(tmp_path, *(f"{split}/{name}/1.JPG" for split in (train, validation, test) for name in "ab"))
    )
    assert {split: files[0][0] for split, files in listing.files.items()} == {
        "train": f"{train}/a/1.JPG",
        "validation": f"{validation}/a/1.JPG",
        "test": f"{test}/a/1.JPG",
    }


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
    assert "left out are images in no class folder (1): stray.jpg" in caplog.text and len(caplog.records) == 1


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


def test_a_split_folder_may_be_a_link_to_a_folder_in_the_data_set(tmp_path):
    touch(tmp_path, "all/train/cat/1.jpg", "all/val/cat/2.jpg")
    for name in ("train", "val"):
        (tmp_path / name).symlink_to(f"all/{name}")
    listing = class_folders(tmp_path)
    assert paths_of(listing.files["train"]) == ["train/cat/1.jpg"] and "validation" in listing.files
    (tmp_path / "val").unlink()
    (tmp_path / "val").symlink_to("train")
    with pytest.raises(InputError, match=r"val and .*train are one folder: its images would count twice"):
        class_folders(tmp_path)


def test_the_root_itself_may_be_a_link(tmp_path):
    touch(tmp_path / "root", "cat/1.jpg")
    (tmp_path / "link").symlink_to("root")
    assert class_folders(tmp_path / "link").root == (tmp_path / "root").resolve()


# ---- classes as people name them


def test_classes_are_the_same_however_unicode_composes_their_names(tmp_path):
    one, two = unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")
    assert one != two
    touch(tmp_path, f"train/{two}/1.jpg", "train/cafz/1.jpg", f"val/{one}/2.jpg", "val/cafz/2.jpg")
    listing = class_folders(tmp_path)
    assert listing.classes == ("cafz", one)
    assert listing.files["train"] == (("train/cafz/1.jpg", 0), (f"train/{two}/1.jpg", 1))
    assert listing.files["validation"] == (("val/cafz/2.jpg", 0), (f"val/{one}/2.jpg", 1))
    touch(tmp_path, f"train/{one}/2.jpg")
    with pytest.raises(InputError) as error:
        class_folders(tmp_path)
    assert "'cafe\\u0301' and 'caf\\xe9' differ only in how Unicode" in str(error.value)


def test_a_class_folder_whose_name_is_not_utf8_is_refused(tmp_path):
    folder = tmp_path / "train" / os.fsdecode(b"caf\xe9")
    folder.mkdir(parents=True)
    with pytest.raises(InputError, match=r"train has a class folder whose name is not UTF-8: b'caf\\xe9'; rename it"):
        class_folders(tmp_path)
    folder.rename(tmp_path / "train" / "caf\u00e9")
    listing = class_folders(touch(tmp_path, os.fsdecode(b"train/caf\xc3\xa9/\xe9.jpg")))  # a file's name may be
    assert listing.classes == ("caf\u00e9",) and len(listing.files["train"]) == 1


def test_a_difference_in_case_is_shown(tmp_path):
    touch(tmp_path, "train/Cat/1.jpg", "train/a/1.jpg", "train/A/1.jpg", "val/cat/1.jpg")
    with pytest.raises(InputError, match=r"only in val: cat; .*; Cat and cat differ only in case"):
        class_folders(tmp_path)


def test_a_split_may_lack_classes_of_train_but_not_bring_others(tmp_path):
    touch(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg", "val/dog/1.jpg", "test/cat/1.jpg")
    listing = class_folders(tmp_path)
    assert listing.classes == ("cat", "dog") and listing.files["validation"] == (("val/dog/1.jpg", 1),)
    touch(tmp_path, "val/cow/1.jpg")
    with pytest.raises(InputError, match=r"only in val: cow; only in train: cat"):
        class_folders(tmp_path)


def test_without_train_the_classes_are_those_of_all_splits(tmp_path):
    assert class_folders(touch(tmp_path, "val/dog/1.jpg", "test/cat/1.jpg")).classes == ("cat", "dog")


def test_images_without_class_folders_in_test_have_no_labels(tmp_path, caplog):
    touch(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg", "test/10.jpg", "test/9.jpg", "test/notes/a.md")
    listing = class_folders(tmp_path)
    assert listing.classes == ("cat", "dog") and list(listing.files) == ["train", "evaluation"]
    assert listing.files["evaluation"] == (("test/9.jpg", -1), ("test/10.jpg", -1))
    assert not caplog.records
    touch(tmp_path, "test/cat/1.jpg")  # with labels, the others are stray
    assert class_folders(tmp_path).files["test"] == (("test/cat/1.jpg", 0),)
    assert "images in no class folder (2): test/9.jpg, test/10.jpg" in caplog.text


def test_a_folder_around_unlabelled_images_is_explained(tmp_path):
    touch(tmp_path, "train/cat/1.jpg", "test/images/1.jpg")
    with pytest.raises(InputError, match=r"only in test: images; .*images without labels belong directly into test/"):
        class_folders(tmp_path)


@pytest.mark.parametrize("split", ["train", "val"])
def test_train_and_validation_need_class_folders(tmp_path, split):
    touch(tmp_path, f"{split}/1.jpg", *(["train/cat/1.jpg"] if split == "val" else []))
    with pytest.raises(InputError, match=f"{split} holds no class folder; expected .*{split}/<class>/"):
        class_folders(tmp_path)


@pytest.mark.parametrize("home", ["", "train/"])
def test_classes_in_groups(tmp_path, caplog, home):
    touch(tmp_path, *(f"{home}{name}/1.jpg" for name in ("animals/cat", "animals/dog/old", "plants/oak")))
    shallow = class_folders(tmp_path)
    assert shallow.classes == ("animals", "plants") and len(caplog.records) == 1
    said = "animals, plants hold only folders (cat, dog, oak), and each is one class; data.class_depth: 2 makes"
    assert said in caplog.text
    caplog.clear()
    touch(tmp_path, f"{home}1.jpg", f"{home}animals/2.jpg")
    deep = class_folders(tmp_path, class_depth=2)
    assert deep.classes == ("animals/cat", "animals/dog", "plants/oak")
    assert deep.files["train"][1] == (f"{home}animals/dog/old/1.jpg", 1)
    assert f"images in no class folder (2): {home}1.jpg, {home}animals/2.jpg" in caplog.text


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["train/train/cat/1.jpg"], r"train: train look like splits, .* set data\.root: .*train/train;"),
        (["train/train/cat/1.jpg", "train/val/cat/1.jpg"], r"train: train, val look like .* set data\.root: .*/train;"),
        (["training/labeled/00/1.jpg", "training/unlabeled/00/1.jpg"], r"labeled, unlabeled .* data\.root: .*/labeled"),
    ],
)
def test_classes_that_look_like_splits_are_refused(tmp_path, paths, message):
    with pytest.raises(InputError, match=message):
        class_folders(touch(tmp_path, *paths))


@pytest.mark.parametrize(
    ("paths", "advice"),
    [
        (["test/test/1.png"], "move the content of {}/test/test up into {}/test;"),
        (["val/Val/a/1.png"], "move the content of {}/val/Val up into {}/val;"),
        (["train/labeled/a/1.png"], "move the content of {}/train/labeled up into {}/train;"),
        (
            ["train/labeled/a/1.png", "train/unlabeled/1.png"],
            "move the content of {}/train/labeled up into {}/train and unlabeled out of {}/train;",
        ),
        (["train/unlabeled/1.png"], "move unlabeled out of {}/train;"),
        (["train/train/a/1.png", "train/val/a/1.png"], "set data.root: {}/train;"),
    ],
)
def test_a_split_within_a_split_is_moved_up_where_there_are_others(tmp_path, paths, advice):
    touch(tmp_path, "train/a/1.png", "train/b/1.png", "val/a/1.png", *paths)
    with pytest.raises(InputError) as refusal:
        class_folders(tmp_path)
    assert advice.replace("{}", str(tmp_path)) in str(refusal.value)


def test_what_is_said_of_a_split_within_a_split_leads_to_a_data_set(tmp_path):
    """Kaggle's archives have test/test/*.png beside train/."""
    touch(tmp_path, "train/a/1.png", "train/b/1.png", "test/test/1.png")
    with pytest.raises(InputError, match="move the content of"):
        class_folders(tmp_path)
    (tmp_path / "test/test/1.png").rename(tmp_path / "test/1.png")
    (tmp_path / "test/test").rmdir()
    assert list(class_folders(tmp_path).files) == ["train", "evaluation"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("Cat", "cat", "dog"), "Cat and cat are classes of their own"),
        (("cat", "cat ", "dog"), "cat and 'cat ' are classes of their own"),
        (("1", "01", "2", "x"), "01 and 1 are classes of their own"),
        (("Cat", "dog", "1", "10", "11"), ""),
    ],
)
def test_classes_whose_names_hardly_differ_are_said_once(tmp_path, caplog, names, said):
    touch(tmp_path, *(f"{split}/{name}/1.jpg" for split in ("train", "val") for name in names))
    for _ in range(2):
        assert len(class_folders(tmp_path).classes) == len(names)
    assert len(caplog.records) == bool(said) and said in caplog.text


def test_numbers_are_in_numeric_order_and_names_as_text(tmp_path):
    touch(tmp_path, *(f"train/{number}/1.jpg" for number in range(12)))
    assert class_folders(tmp_path).classes == tuple(map(str, range(12)))
    touch(tmp_path, "train/x/1.jpg")
    assert class_folders(tmp_path).classes == (*sorted(map(str, range(12))), "x")
    assert in_order(["10", "02", "2", "1"]) == ("1", "02", "2", "10")


def test_what_is_passed_over_is_said(tmp_path, caplog):
    caplog.set_level("INFO")
    touch(tmp_path, "train/cat/1.jpg", "train/cat/more/2.jpg", "train/dog/1.jpg", "docs/figure.jpg", ".DS_Store")
    touch(tmp_path, "train/.ipynb_checkpoints/1-checkpoint.jpg", "train/dog/._1.jpg", "train/dog/.DS_Store")
    class_folders(tmp_path)
    ignored = "ignored are hidden and system entries (2): train/.ipynb_checkpoints, train/dog/._1.jpg"
    assert [record.levelname for record in caplog.records] == ["INFO"] * 3 and ignored in caplog.text
    assert "not read, beside the splits, are the folders docs" in caplog.text
    assert "images in sub-folders count for the class above them (cat)" in caplog.text


def test_a_course_tree_read_as_class_folders_is_explained(tmp_path):
    with pytest.raises(InputError, match=r"holds no class folder; .* set data\.source: food11"):
        class_folders(touch(tmp_path, "training/3_17.jpg", "validation/0_2.jpg"))


def test_classes_deeper_than_the_folders_are_missing(tmp_path):
    with pytest.raises(InputError, match=r"train holds no class folder; expected .*train/<folder>/<class>/\*.jpg"):
        class_folders(touch(tmp_path, "train/cat/1.jpg"), class_depth=2)


def test_folders_of_systems_are_no_classes(tmp_path):
    touch(tmp_path, "train/cat/1.jpg", "train/@eaDir/1.jpg", "val/cat/1.jpg", "val/__MACOSX/1.jpg", "lost+found/1.jpg")
    assert class_folders(tmp_path).classes == ("cat",)


@pytest.mark.parametrize(("link", "target"), [("train/kitty", "cat"), ("val", "train"), ("train/cat/all", "..")])
def test_a_folder_cannot_be_of_two_classes_or_splits(tmp_path, link, target):
    touch(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg")
    (tmp_path / link).symlink_to(target)
    with pytest.raises(InputError, match="are one folder: its images would count twice"):
        class_folders(tmp_path, follow_links=True)


def test_splits_and_classes_may_be_links_when_asked_for(tmp_path):
    root = touch(tmp_path / "root", "train/dog/1.jpg")
    touch(tmp_path, "cache/cat/1.jpg", "cache/val/cat/1.jpg")
    (root / "train/cat").symlink_to(tmp_path / "cache/cat")
    (root / "val").symlink_to(tmp_path / "cache/val")
    with pytest.raises(InputError, match=r"val is a link to .*, outside .*; data.follow_links: true follows it"):
        class_folders(root)
    listing = class_folders(root, follow_links=True)
    assert paths_of(listing.files["train"]) == ["train/cat/1.jpg", "train/dog/1.jpg"]
    assert paths_of(listing.files["validation"]) == ["val/cat/1.jpg"]


# ---- unlabelled


def test_unlabelled(tmp_path):
    touch(tmp_path, "10.jpg", "2.jpg", "sub/1.png", ".x.jpg", "notes.txt")
    assert unlabelled(tmp_path) == (tmp_path.resolve(), ("2.jpg", "10.jpg", "sub/1.png"))
    assert unlabelled(tmp_path / "2.jpg") == (tmp_path.resolve(), ("2.jpg",))
    with pytest.raises(UsageError, match=r"there is no folder or image .*nowhere"):
        unlabelled(tmp_path / "nowhere")
    touch(tmp_path, "empty/readme.txt")
    with pytest.raises(InputError, match="empty holds no image"):
        unlabelled(tmp_path / "empty")
