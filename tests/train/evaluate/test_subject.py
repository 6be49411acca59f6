"""Which images are measured, by which classes, and where the report goes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import reference
import tiny_digits
from configs.errors import InputError
from data_pipes.sources import source
from data_pipes.sources.idx import FASHION_CLASSES
from data_pipes.spec import DataSpec
from train.evaluate import subject
from train.evaluate.config import EvaluateConfig
from train.evaluate.score_sheet import score
from train.run_folder import split_record

SPEC = {"image_size": (16, 16), "mean": (0.4,), "std": (0.25,), "threads": 1}
KNOWN = ("cat", "cow", "dog")


def write(root: Path, *paths: str) -> Path:
    for seed, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / path), reference.picture(16, 16, 1, seed=seed))
    return root


def config(root: Path, **changes) -> EvaluateConfig:
    data = DataSpec(source=changes.pop("source", "folder"), root=str(root), **SPEC)
    return EvaluateConfig(**{"weights": "net.safetensors", "data": data} | changes)


def found(made: EvaluateConfig, known=KNOWN):
    return subject.samples(made, made.data, known)


# ---- which images


def test_a_folder_without_splits_is_measured_whole(tmp_path):
    root = write(tmp_path / "pets", *(f"{name}/{i}.png" for name in KNOWN for i in range(12)))
    samples = found(config(root))
    assert samples.split == "all" and len(samples) == 36
    assert 3 <= len(found(config(root, split="validation"))) < 12  # about a tenth, if asked for


def test_the_runs_own_folder_is_measured_on_the_validation_split(tmp_path):
    root = write(tmp_path / "pets", *(f"{name}/{i}.png" for name in KNOWN for i in range(12)))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(f"data: {{source: folder, root: {root}}}")
    own = config(root, run_dir=str(tmp_path / "run"), weights=None)
    assert found(own).split == "validation"
    other = write(tmp_path / "other", "cat/1.png", "dog/1.png")
    assert found(replace(own, data=replace(own.data, root=str(other)))).split == "all"


def owned(tmp_path: Path) -> tuple[EvaluateConfig, list]:
    """A run's own folder of pets, and the images that it trained on and validated on."""
    root = write(tmp_path / "pets", *(f"{name}/{i}.png" for name in KNOWN for i in range(12)))
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text(f"data: {{source: folder, root: {root}}}")
    own = config(root, run_dir=str(run), weights=None, split="validation")
    return own, [source.load(own.data, split) for split in ("train", "validation")]


def shown(made: EvaluateConfig, trained_on: str | None) -> set[str]:
    return set(subject.samples(made, made.data, KNOWN, trained_on).key_N)


def test_when_images_come_and_go_none_that_was_trained_on_is_validated_on(tmp_path, caplog):
    own, (train, validation) = owned(tmp_path)
    split_record.write(tmp_path / "run", (train, validation))
    assert shown(own, train.fingerprint) == set(validation.key_N)
    for key in (validation.key_N[0], *train.key_N[:8]):
        (tmp_path / "pets" / key).unlink()
    write(tmp_path / "pets", *(f"cat/new{i}.png" for i in range(3)))  # equal to the first three cats
    for i in range(40):
        cv2.imwrite(str(tmp_path / "pets" / "dog" / f"newer{i}.png"), reference.picture(16, 16, 1, seed=100 + i))
    left = shown(own, train.fingerprint)
    assert set(validation.key_N[1:]) <= left and not left & set(train.key_N) and not any("newer" in key for key in left)
    (tmp_path / "run" / split_record.NAME).unlink()  # the control: today's cut alone knows less
    with caplog.at_level("WARNING", "train.evaluate.subject"):
        assert shown(own, train.fingerprint) != left
    assert "some of these may have been trained on" in caplog.text
    for key in validation.key_N[1:]:
        (tmp_path / "pets" / key).unlink()
    split_record.write(tmp_path / "run", (train, validation))
    (tmp_path / "pets" / "cat" / "new0.png").unlink(missing_ok=True)
    with pytest.raises(InputError, match="none of the images that the run validated on is left"):
        for path in (tmp_path / "pets").rglob("new?.png"):
            path.unlink()
        shown(own, train.fingerprint)


def test_a_run_of_before_is_measured_on_the_images_of_its_own_cut(tmp_path, caplog):
    own, (now, _) = owned(tmp_path)
    train, validation = source.cut_by_position(own.data)
    assert train.fingerprint != now.fingerprint
    with caplog.at_level("WARNING", "train.evaluate.subject"):
        assert shown(own, train.fingerprint) == set(validation.key_N)
    assert not caplog.records
    moved = config(Path(own.data.root), split="auto")
    assert subject.samples(moved, moved.data, KNOWN, train.fingerprint).split == "validation"


def test_a_folder_that_the_network_was_trained_on_is_recognised_wherever_it_lies(tmp_path, caplog):
    caplog.set_level("INFO")
    root = write(tmp_path / "pets", *(f"{name}/{i}.png" for name in KNOWN for i in range(12)))
    trained_on = source.load(config(root).data, "train").fingerprint
    moved = config(root.rename(tmp_path / "moved"))
    assert subject.samples(moved, moved.data, KNOWN, trained_on).split == "validation"
    assert "the network was trained on this folder" in caplog.text
    assert subject.samples(replace(moved, split="all"), moved.data, KNOWN, trained_on).split == "all"
    write(tmp_path / "moved", "dog/13.png")
    assert subject.samples(moved, moved.data, KNOWN, trained_on).split == "all"  # negative control
    few = config(write(tmp_path / "few", "cat/1.png"))
    assert subject.samples(few, few.data, KNOWN, trained_on).split == "all"


def test_a_folder_that_one_member_was_trained_on_is_recognised_with_a_warning(tmp_path, caplog):
    made = config(write(tmp_path / "pets", *(f"{name}/{i}.png" for name in KNOWN for i in range(12))))
    trained_on = source.load(made.data, "train").fingerprint
    assert subject.samples(made, made.data, KNOWN, trained_on).split == "validation" and "members" not in caplog.text
    assert subject.samples(made, made.data, KNOWN, f"{'0' * 64},{trained_on}").split == "validation"
    assert "its members were trained on different images: some of these may have been trained on" in caplog.text
    assert subject.samples(made, made.data, KNOWN, f"{'0' * 64},{'1' * 64}").split == "all"


def test_splits_that_are_there_are_kept_to(tmp_path):
    root = write(tmp_path / "pets", *(f"{split}/{name}/{split}.png" for split in ("train", "val") for name in KNOWN))
    assert found(config(root)).split == "validation" and len(found(config(root, split="all"))) == 6
    write(root, *(f"test/{name}/1.png" for name in KNOWN))
    assert found(config(root)).split == "test"


def test_an_unlabelled_split_is_refused_with_the_way_out(tmp_path):
    write(tmp_path, "training/0_1.png", "training/1_1.png", "evaluation/0000.png")
    data = DataSpec(source="food11", root=str(tmp_path), **SPEC)
    with pytest.raises(InputError, match=r"the evaluation split has no labels .* train\.predict writes predictions"):
        subject.labelled(data, "evaluation", own=False)


# ---- which classes


def test_classes_of_a_folder_are_matched_by_name(tmp_path):
    root = write(tmp_path / "some", "cat/1.png", "dog/1.png", "dog/2.png")
    samples = found(config(root), known=("dog", "cow", "cat"))
    assert samples.classes == ("dog", "cow", "cat")
    assert dict(zip(samples.key_N, samples.label_N.tolist(), strict=True)) == {
        "cat/1.png": 2,
        "dog/1.png": 0,
        "dog/2.png": 0,
    }
    assert len(found(config(write(tmp_path / "one", "cat/1.png")))) == 1


def test_a_class_that_the_network_does_not_know_is_named(tmp_path):
    root = write(tmp_path / "some", "cat/1.png", "hen/1.png")
    with pytest.raises(InputError, match=r"does not know the classes hen; it knows cat, cow, dog\. Rename"):
        found(config(root))


@pytest.mark.parametrize(
    ("of_data", "of_network", "source", "refused"),
    [
        ("0 1 2", "cat cow dog", "food11", None),
        ("0 1", "cat cow dog", "food11", None),
        ("cat cow dog", "0 1 2", "food11", None),
        ("0 1 2 3", "cat cow dog", "food11", "knows 3 classes and the data set has 4"),
        ("0 1 2", "ka ki ku", "idx", None),
        ("0 1", "ka ki ku", "idx", "knows 3 classes and the data set has 2"),
        ("cat cow dog", "0 1 2", "idx", "trained on other classes"),  # as of a network of digits on Fashion-MNIST
        ("0 1 2", "cat cow dog", "digits", "trained on other classes"),
    ],
)
def test_labels_count_as_they_are_where_one_side_has_no_names(of_data, of_network, source, refused, caplog):
    samples = replace(reference.in_memory([reference.noise(2, 2, 1)] * 4), classes=tuple(of_data.split()))
    if refused:
        with pytest.raises(InputError, match=refused):
            subject.by_number(samples, of_network.split(), source)
    else:
        assert subject.by_number(samples, of_network.split(), source).classes == tuple(of_network.split())
        assert "has no names of classes: labels count as they are" in caplog.text


def test_a_network_of_fashion_is_not_measured_on_digits():
    samples = replace(reference.in_memory([reference.noise(2, 2, 1)] * 4), classes=tuple("0123456789"))
    with pytest.raises(InputError, match="trained on other classes"):
        subject.by_number(samples, FASHION_CLASSES, "idx")
    assert subject.by_number(samples, tuple("0123456789"), "idx") is samples


def test_numbers_of_a_data_set_count_as_the_networks_classes_but_names_must_be_its_own(tmp_path):
    root = write(tmp_path / "food", *(f"training/{label}_{i}.png" for label in range(3) for i in range(2)))
    made = config(root, source="food11", split="train")
    samples = found(made)
    assert samples.classes == KNOWN and set(samples.label_N.tolist()) == {0, 1, 2}
    (root / "classes.txt").write_text("cat\ndog\ncow")
    with pytest.raises(InputError, match="the same classes in another order"):
        found(made)
    with pytest.raises(InputError, match="knows 4 classes and the data set has 3"):
        found(made, known=("a", "b", "c", "d"))


# ---- where the report goes


@pytest.mark.parametrize(
    ("weights", "root", "name"),
    [
        (None, "pets", "run/evaluation-test.json"),
        ("run/model.safetensors", "pets", "run/evaluation-test.json"),
        ("run/cut-01/cut.safetensors", "pets", "run/evaluation-cut-01-cut-test.json"),
        ("net.safetensors", "pets", "run/evaluation-net-test.json"),
        (None, "other", "run/evaluation-other-test.json"),
        ("net.safetensors", "other", "run/evaluation-net-other-test.json"),
    ],
)
def test_the_runs_own_report_is_kept_for_its_own_weights_and_data(tmp_path, weights, root, name):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(f"data: {{source: folder, root: {tmp_path}/pets}}")
    file = None if weights is None else str(tmp_path / weights)
    made = config(tmp_path / root, run_dir=str(tmp_path / "run"), weights=file)
    assert subject.report_path(made, "test") == tmp_path / name
    assert subject.report_path(replace(made, output="x.json"), "test") == Path("x.json")


def test_without_a_run_the_report_is_in_the_working_directory(tmp_path):
    assert subject.report_path(config(tmp_path / "other"), "all") == Path("evaluation-net-other-all.json")
    digits = config(tmp_path, data=DataSpec(source="digits", **SPEC))
    assert subject.report_path(digits, "test") == Path("evaluation-net-digits-test.json")


def test_a_file_and_a_folder_are_enough(tmp_path, monkeypatch, capsys):
    weights = tiny_digits.save(tmp_path / "net.safetensors", classes=KNOWN)
    root = write(tmp_path / "other", *(f"{name}/{i}.png" for name in ("dog", "cat") for i in range(3)))
    monkeypatch.chdir(tmp_path)
    score(config(root, weights=str(weights)))
    sheet = json.loads((tmp_path / "evaluation-net-other-all.json").read_text())
    assert sheet["samples"] == 6 and sheet["classes"] == list(KNOWN)
    assert np.array(sheet["confusion"]).sum(axis=1).tolist() == [3, 0, 3]
    assert "all: 6 images" in capsys.readouterr().out
