from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from configs.errors import InputError, UsageError
from data_pipes.sources import idx, index
from data_pipes.sources.source import class_names, load, require_classes_to_tell_apart, splits, undivided, unlabelled
from data_pipes.spec import DataSpec


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("HEARTCUT_CACHE", str(tmp_path_factory.mktemp("cache")))


def spec(source: str, root: Path | None = None, **changes) -> DataSpec:
    shape = {"image_size": (8, 8), "mean": (0.5,), "std": (0.5,)}
    return DataSpec(source=source, root=None if root is None else str(root), **{**shape, **changes})


def jpeg(seed: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((6, 8, 3), seed % 256, np.uint8)).save(stream, "JPEG")
    return stream.getvalue()


def write(root: Path, *paths: str) -> Path:
    for seed, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(jpeg(seed))
    return root


def keys(samples) -> set[str]:
    return set(samples.key_N)


# ---- arrays


def test_digits():
    train, validation, test = (load(spec("digits"), split) for split in ("train", "validation", "test"))
    assert splits(spec("digits")) == ("train", "validation", "test")
    assert len(train) + len(validation) + len(test) == len(keys(train) | keys(validation) | keys(test)) == 1797
    assert abs(len(test) - 0.2 * 1797) < 5 and abs(len(validation) - 0.08 * 1797) < 5
    assert train.size_N2[0].tolist() == [8, 8] and train.classes == tuple("0123456789") and train.labelled
    assert [samples.split for samples in (train, validation, test)] == ["train", "validation", "test"]


def test_arrays_are_read_once_and_again_when_their_files_change(tmp_path, monkeypatch):
    reads: list[Path] = []
    own = idx.read
    monkeypatch.setattr(idx, "read", lambda root, *rest: reads.append(root) or own(root, *rest))
    write_idx(tmp_path, images=30)
    first = [load(spec("idx", tmp_path), split) for split in ("train", "validation", "train")]
    assert len(reads) == 1 and first[0].images is first[1].images
    write_idx(tmp_path, images=40)
    assert len(load(spec("idx", tmp_path), "train")) > len(first[0]) and len(reads) == 2
    assert load(spec("idx", tmp_path, classes=tuple("abcdefghij")), "train").classes == tuple("abcdefghij")


def write_idx(root: Path, images: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (images, 8, 8), dtype=np.uint8)
    labels = (np.arange(images) % 10).astype(np.uint8)
    for kind, array in (("images-idx3", pixels), ("labels-idx1", labels)):
        head = struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape)
        (root / f"train-{kind}-ubyte").write_bytes(head + array.tobytes())


def test_the_split_seed_moves_validation_and_never_test():
    first, other = spec("digits"), spec("digits", split_seed=1)
    assert load(first, "validation").fingerprint == load(first, "validation").fingerprint
    assert load(first, "validation").fingerprint != load(other, "validation").fingerprint
    assert load(first, "test").fingerprint == load(other, "test").fingerprint
    half = spec("digits", validation_fraction=0.5)
    assert abs(len(load(half, "train")) - len(load(half, "validation"))) <= 10


def test_idx(tmp_path):
    for prefix, n in (("train", 40), ("t10k", 20)):
        pixel, label = np.full((n, 4, 5), n, np.uint8), np.arange(n, dtype=np.uint8) % 10
        for name, array in (("images-idx3", pixel), ("labels-idx1", label)):
            data = struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()
            (tmp_path / f"{prefix}-{name}-ubyte.gz").write_bytes(gzip.compress(data))
    train, validation, test = (load(spec("idx", tmp_path), split) for split in ("train", "validation", "test"))
    assert (len(train), len(validation), len(test)) == (30, 10, 20)  # at least one of each class
    assert not keys(train) & keys(validation) and sorted(validation.label_N) == list(range(10))
    assert test.read(0, channels=3).shape == (4, 5, 3) and test.read(0, channels=1).max() == 20
    assert train.read(0, channels=1).max() == 40


def test_cifar10(tmp_path):
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    for i, name in enumerate(names):
        batch = {b"data": np.full((4, 3072), i, np.uint8), b"labels": [0, 0, 1, 1]}
        (tmp_path / name).write_bytes(pickle.dumps(batch, 2))
    (tmp_path / "batches.meta").write_bytes(pickle.dumps({b"label_names": [b"a", b"b"]}, 2))
    train, validation, test = (load(spec("cifar10", tmp_path), split) for split in ("train", "validation", "test"))
    assert (len(train), len(validation), len(test)) == (18, 2, 4) and test.classes == ("a", "b")
    assert test.read(0, channels=3).max() == 5


def test_cifar10_1_is_a_test_set_only(tmp_path):
    for version, n in (("v4", 3), ("v6", 2)):
        np.save(tmp_path / f"cifar10.1_{version}_data.npy", np.zeros((n, 32, 32, 3), np.uint8))
        np.save(tmp_path / f"cifar10.1_{version}_labels.npy", np.zeros(n, np.int64))
    assert splits(spec("cifar10.1", tmp_path)) == ("test",)
    assert len(load(spec("cifar10.1", tmp_path), "test")) == 2
    assert len(load(spec("cifar10.1", tmp_path, version="v4"), "test")) == 3
    with pytest.raises(InputError, match=r"cifar10.1 at .* has no train split; it has test"):
        load(spec("cifar10.1", tmp_path), "train")


@pytest.mark.parametrize("source", ["idx", "cifar10", "cifar10.1", "food11", "folder"])
def test_a_root_is_asked_for(source, tmp_path):
    with pytest.raises(UsageError, match=r"data\.root is not set"):
        load(spec(source), "test")
    with pytest.raises(UsageError, match=r"data\.root .*nowhere"):
        load(spec(source, tmp_path / "nowhere"), "test")


def test_a_split_that_does_not_exist():
    with pytest.raises(InputError, match="digits has no evaluation split; it has train, validation, test"):
        load(spec("digits"), "evaluation")


# ---- files


def test_food11_with_its_own_validation(tmp_path):
    write(tmp_path, "training/0_0.jpg", "training/1_0.jpg", "validation/1_5.jpg", "evaluation/0.jpg")
    here = spec("food11", tmp_path)
    assert splits(here) == ("train", "validation", "evaluation")
    assert load(here, "train").key_N == ("training/0_0.jpg", "training/1_0.jpg")
    assert load(here, "validation").key_N == ("validation/1_5.jpg",)
    evaluation = load(here, "evaluation")
    assert not evaluation.labelled and evaluation.classes == ("0", "1") and evaluation.size_N2.tolist() == [[6, 8]]
    assert evaluation.read(0, channels=3).shape == (6, 8, 3)
    with pytest.raises(InputError, match="has no test split; it has train, validation, evaluation"):
        load(here, "test")


def test_food11_takes_the_names_that_it_is_given(tmp_path):
    write(tmp_path, "training/0_0.jpg", "training/1_0.jpg", "validation/1_5.jpg")
    (tmp_path / "classes.txt").write_text("bread\negg\n")
    assert load(spec("food11", tmp_path), "train").classes == ("bread", "egg")
    assert load(spec("food11", tmp_path, classes=("rice", "soup")), "train").classes == ("rice", "soup")
    with pytest.raises(InputError, match=r"1_\d\.jpg is of class 1, but data\.classes names 1 classes"):
        load(spec("food11", tmp_path, classes=("rice",)), "train")


def test_food11_validation_cut_from_train(tmp_path):
    write(tmp_path, *(f"training/{label}_{i}.jpg" for label in range(3) for i in range(10)))
    here = spec("food11", tmp_path)
    train, validation = load(here, "train"), load(here, "validation")
    assert splits(here) == ("train", "validation") and (len(train), len(validation)) == (27, 3)
    assert not keys(train) & keys(validation) and validation.split == "validation"
    for i in range(3):
        assert validation.key_N[i].startswith(f"training/{validation.label_N[i]}_")


def test_folder(tmp_path):
    write(tmp_path, *(f"train/{name}/{i}.jpg" for name in ("cat", "dog") for i in range(4)), "test/cat/1.jpg")
    (tmp_path / "test/dog").mkdir()
    here = spec("folder", tmp_path)
    assert splits(here) == ("train", "validation", "test")
    assert (len(load(here, "train")), len(load(here, "validation")), len(load(here, "test"))) == (6, 2, 1)
    assert load(here, "test").classes == ("cat", "dog")


def test_folder_with_a_test_split_without_labels(tmp_path):
    here = spec("folder", write(tmp_path, *(f"train/{name}/{i}.jpg" for name in "ab" for i in range(3)), "test/7.jpg"))
    assert splits(here) == ("train", "validation", "evaluation")
    evaluation = load(here, "evaluation")
    assert evaluation.key_N == ("test/7.jpg",) and not evaluation.labelled and evaluation.classes == ("a", "b")
    with pytest.raises(InputError, match=r"no test split; it has .*evaluation; its images to test on have no labels"):
        load(here, "test")


def test_a_class_that_validation_lacks_is_said_once(tmp_path, caplog):
    write(tmp_path, *(f"train/{name}/1.jpg" for name in ("cat", "dog", "cow")), "val/dog/1.jpg")
    here = spec("folder", tmp_path)
    assert load(here, "train").classes == load(here, "validation").classes == ("cat", "cow", "dog")
    load(here, "validation")
    text = f"{tmp_path}: the validation split has no image of 2 of 3 classes: cat, cow"
    assert [record.message for record in caplog.records] == [text]


def test_a_class_of_one_image_is_missing_in_a_validation_split_cut_from_train(tmp_path, caplog):
    here = spec("folder", write(tmp_path, "cat/1.jpg", "cat/2.jpg", "dog/1.jpg"))
    assert load(here, "validation").label_N.tolist() == [0] and sorted(load(here, "train").label_N) == [0, 1]
    assert "the validation split has no image of 1 of 2 classes: dog" in caplog.text


def test_a_number_that_no_file_of_train_has_is_said(tmp_path, caplog):
    write(tmp_path, "training/0_0.jpg", "training/2_0.jpg", "validation/0_0.jpg", "validation/2_0.jpg")
    assert load(spec("food11", tmp_path), "train").classes == ("0", "1", "2")
    assert "the train split has no image of 1 of 3 classes: 1" in caplog.text


def test_links_and_depth_come_from_the_spec(tmp_path):
    root = write(tmp_path / "root", *(f"animals/dog/{i}.jpg" for i in range(2)), "animals/cat/1.jpg")
    write(tmp_path, "cache/2.jpg")
    (root / "animals/cat/2.jpg").symlink_to(tmp_path / "cache/2.jpg")
    with pytest.raises(InputError, match=r"data.follow_links: true"):
        load(spec("folder", root, class_depth=2), "train")
    here = spec("folder", root, class_depth=2, follow_links=True)
    assert load(here, "train").classes == ("animals/cat", "animals/dog")
    assert len(load(here, "train")) + len(load(here, "validation")) == len(load(here, "all")) == 4
    assert load(here, "train").read(0, channels=3).shape == (6, 8, 3)


@pytest.mark.parametrize("link", ["cat/1.jpg", "cat"])
def test_a_link_that_leads_to_another_file_is_another_data_set(tmp_path, link):
    """Though the files have one size and one time."""
    root = write(tmp_path / "root", "cat/2.jpg", "cat/3.jpg") if link == "cat/1.jpg" else tmp_path / "root"
    root.mkdir(exist_ok=True)
    found = []
    for seed, home in enumerate(("one", "two")):
        for path in ("cat/1.jpg", "cat/2.jpg"):
            file = write(tmp_path / home, path) / path
            file.write_bytes(jpeg(100 + seed))
            os.utime(file, (0, 0))
        (root / link).unlink(missing_ok=True)
        (root / link).symlink_to(tmp_path / home / link)
        found.append(load(spec("folder", root, follow_links=True), "all"))
    assert len(jpeg(100)) == len(jpeg(101)) and found[0].key_N == found[1].key_N
    assert found[0].fingerprint != found[1].fingerprint


def test_the_composition_of_a_class_name_is_not_part_of_the_data(tmp_path):
    found = []
    for form in ("caf\u00e9", "cafe\u0301"):
        home = tmp_path / ascii(form).strip("'").replace("\\", "")
        found.append(load(spec("folder", write(home, f"{form}/1.jpg", f"{form}/2.jpg")), "train"))
    assert found[0].classes == found[1].classes == ("caf\u00e9",)
    assert found[0].key_N[0].startswith("caf\u00e9") and found[1].key_N[0].startswith("cafe\u0301")


def test_folder_with_a_test_split_only(tmp_path):
    here = spec("folder", write(tmp_path, "test/cat/1.jpg"))
    assert splits(here) == ("test",)
    with pytest.raises(InputError, match="has no validation split; it has test"):
        load(here, "validation")


def test_too_few_samples_for_a_validation_split(tmp_path):
    with pytest.raises(InputError, match="too few to cut a validation split"):
        load(spec("folder", write(tmp_path, "cat/1.jpg", "dog/1.jpg")), "train")


# ---- bad files


@pytest.fixture
def damaged(tmp_path) -> Path:
    write(tmp_path, *(f"training/0_{i}.jpg" for i in range(10)), "validation/0_0.jpg")
    for i in range(7):
        (tmp_path / f"training/0_{i}.jpg").write_bytes(jpeg(0)[: 300 if i else -2])
    return tmp_path


def test_bad_files_are_an_error_that_says_how_to_go_on(damaged):
    with pytest.raises(InputError) as error:
        load(spec("food11", damaged), "train")
    text = str(error.value)
    assert "7 of 10 files cannot be used: training/0_0.jpg: image file is truncated" in text
    assert "training/0_4.jpg" in text and "training/0_5.jpg" not in text and "and 2 more" in text
    assert "data.bad_files: skip" in text
    assert len(load(spec("food11", damaged), "validation")) == 1  # other splits are not judged


def test_bad_files_can_be_skipped_with_one_warning(damaged, caplog):
    train = load(spec("food11", damaged, bad_files="skip"), "train")
    assert train.key_N == tuple(f"training/0_{i}.jpg" for i in (7, 8, 9))
    assert train.read(0, channels=3)[0, 0].tolist() == [7, 7, 7]  # rows still point at the right files
    assert len(caplog.records) == 1 and "7 of 10 files" in caplog.text


def test_nothing_left_is_an_error_even_when_skipping(damaged):
    for i in range(7, 10):
        (damaged / f"training/0_{i}.jpg").write_bytes(b"")
    with pytest.raises(InputError, match="None is left"):
        load(spec("food11", damaged, bad_files="skip"), "train")


def folder_with_bad_cats(root: Path) -> Path:
    for split in ("train", "val"):
        write(root, *(f"{split}/{name}/{i}.jpg" for name in ("cat", "dog") for i in range(3)))
        for i in range(3):
            (root / f"{split}/cat/{i}.jpg").write_bytes(jpeg(0)[:300])
    return root


def test_skipping_may_not_empty_a_class_of_train(tmp_path, caplog):
    here = spec("folder", folder_with_bad_cats(tmp_path), bad_files="skip")
    with pytest.raises(InputError, match=r"every image of cat in train is bad"):
        load(here, "train")
    assert load(here, "validation").label_N.tolist() == [1, 1, 1]
    assert "the validation split has no image of 1 of 2 classes: cat" in caplog.text
    write(tmp_path, "train/cat/0.jpg")  # negative control: one is enough
    assert load(here, "train").label_N.tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("source", ["folder", "food11"])
def test_nor_when_validation_is_cut_from_train(tmp_path, source, split):
    paths = [f"training/{label}_{i}.jpg" if source == "food11" else f"{label}/{i}.jpg" for label in "01" for i in "012"]
    write(tmp_path, *paths)
    for path in paths[:3]:
        (tmp_path / path).write_bytes(jpeg(0)[:300])
    with pytest.raises(InputError, match=r"every image of 0 in train is bad"):
        load(spec(source, tmp_path, bad_files="skip"), split)


def test_unlabelled(tmp_path, caplog):
    write(tmp_path, "10.jpg", "9.jpg", "sub/1.jpg")
    (tmp_path / "bad.jpg").write_bytes(b"text")
    with pytest.raises(InputError, match="1 of 4 files"):
        unlabelled("error", tmp_path)
    samples = unlabelled("skip", tmp_path)
    assert samples.key_N == ("9.jpg", "10.jpg", "sub/1.jpg") and not samples.labelled and samples.classes == ()
    assert unlabelled("error", str(tmp_path / "10.jpg")).key_N == ("10.jpg",)


def test_unlabelled_follows_links_when_asked_for(tmp_path):
    write(tmp_path, "cache/1.jpg", "here/2.jpg")
    (tmp_path / "here/1.jpg").symlink_to("../cache/1.jpg")
    with pytest.raises(InputError, match=r"data.follow_links: true"):
        unlabelled("error", tmp_path / "here")
    assert unlabelled("error", tmp_path / "here", follow_links=True).key_N == ("1.jpg", "2.jpg")


# ---- the real thing


@pytest.mark.data("food10")
def test_food10(data_root):
    here = spec("food11", data_root, mean=(0.5,) * 3, std=(0.5,) * 3)
    validation, evaluation = load(here, "validation"), load(here, "evaluation")
    assert (len(validation), len(evaluation)) == (600, 250)
    assert np.bincount(validation.label_N).tolist() == [60] * 10
    for i in range(0, 600, 97):
        assert validation.read(i, channels=3).shape == (*validation.size_N2[i], 3)


@pytest.mark.data("fashion_mnist")
def test_fashion_mnist(data_root):
    train, validation = load(spec("idx", data_root), "train"), load(spec("idx", data_root), "validation")
    assert (len(train), len(validation)) == (54000, 6000) and not keys(train) & keys(validation)
    assert np.bincount(validation.label_N).tolist() == [600] * 10


# ---- one set, and one class


def test_all_labelled_images_of_a_data_set_of_files(tmp_path):
    here = spec("folder", write(tmp_path / "a", "train/a/1.jpg", "train/b/1.jpg", "val/a/2.jpg", "test/9.jpg"))
    assert keys(load(here, "all")) == {"train/a/1.jpg", "train/b/1.jpg", "val/a/2.jpg"} and not undivided(here)
    flat = spec("folder", write(tmp_path / "b", "a/1.jpg", "b/1.jpg"))
    assert undivided(flat) and len(load(flat, "all")) == 2 and not undivided(spec("digits"))
    with pytest.raises(InputError, match="digits has no all split; it has train, validation, test"):
        load(spec("digits"), "all")
    with pytest.raises(InputError, match="has no labelled image"):
        load(spec("food11", write(tmp_path / "c", "evaluation/1.jpg")), "all")


def test_one_class_alone_is_refused_before_any_image_is_read(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.jpg").write_bytes(b"not read")
    with pytest.raises(InputError, match=r"has one class alone, cat; training needs at least two.*class_depth: 2"):
        require_classes_to_tell_apart(spec("folder", tmp_path))
    require_classes_to_tell_apart(spec("folder", write(tmp_path, "dog/1.jpg")))
    require_classes_to_tell_apart(spec("digits"))


def test_class_names_are_those_that_load_gives_and_no_image_is_read_for_them(tmp_path, monkeypatch):
    write(tmp_path, "train/cat/1.jpg", "train/cat/2.jpg", "train/dog/1.jpg", "train/dog/2.jpg")
    folder = spec("folder", tmp_path)
    loaded = load(folder, "train").classes
    monkeypatch.setattr(index.Pass, "run", lambda *_: pytest.fail("images were indexed"))
    assert class_names(folder) == loaded == ("cat", "dog")
    assert class_names(spec("digits")) == load(spec("digits"), "train").classes
    with pytest.raises(UsageError, match="does not hold the data set"):
        class_names(spec("idx", tmp_path))
