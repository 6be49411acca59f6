"""What train.evaluate writes and prints, on a set small enough to count by hand."""

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

import reference
from configs import reader
from configs.errors import InputError
from configs.intervals import wilson
from data_pipes.sources import source
from data_pipes.spec import DataSpec
from digit_runs import distil, teach
from models import artefact
from models.artefact import Card
from models.counting import measure
from models.spec import ModelSpec
from models.zoo import build
from train.evaluate import score_sheet
from train.evaluate.config import EvaluateConfig
from train.evaluate.metrics import Scores

CLASSES = ("cat", "cow", "dog")
MODEL = ModelSpec(name="resnet_small", widths=(2, 4, 8), depth=8)
SCORES = Scores(confusion=((3, 1, 0), (0, 0, 0), (0, 2, 4)), top5=10, agreed=6)


def saved(path: Path, seed: int, classes=CLASSES, **changes) -> Path:
    torch.manual_seed(seed)
    net = build(MODEL, num_classes=len(classes), input_CHW=(1, 16, 16))
    with torch.no_grad():
        image_NHWC = np.stack([reference.picture(16, 16, 1, seed=i) for i in range(16)])
        logits_NK = net.eval()((torch.from_numpy(image_NHWC).permute(0, 3, 1, 2) / 255 - 0.4) / 0.25)
        net.fc.bias.sub_(logits_NK.mean(0))  # so that it does not say the same of all
    own = {"mean": (0.4,), "std": (0.25,), "eval_crop": 1.0}
    card = Card(
        model=MODEL, classes=classes, input_CHW=(1, 16, 16), cost=measure(net, (1, 16, 16)), **{**own, **changes}
    )
    artefact.save(path, net, card)
    return path


@pytest.fixture
def images(tmp_path):
    """train/, val/, test/ of three classes, four images each."""
    for split in ("train", "val", "test"):
        for label, name in enumerate(CLASSES):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for i in range(4):
                seed = 100 * len(split) + 10 * label + i
                cv2.imwrite(str(tmp_path / "data" / split / name / f"{i}.png"), reference.picture(16, 16, 1, seed=seed))
    return tmp_path / "data"


def spec(root: Path, **changes) -> DataSpec:
    """On purpose not the size and the normalisation that the network was trained with."""
    own = {"source": "folder", "root": str(root), "image_size": (24, 24), "mean": (0.1,), "std": (0.9,), "threads": 1}
    return DataSpec(**{**own, **changes})


def expected_confusion(path: Path, data: DataSpec, split: str, *, mirror: bool = False) -> np.ndarray:
    net, card = artefact.load(path)
    samples, confusion = source.load(data, split), np.zeros((3, 3), int)
    for i in range(len(samples)):
        pixel_CHW = torch.from_numpy(samples.read(i, channels=1)).permute(2, 0, 1) / 255
        image_BCHW = (pixel_CHW - card.mean[0])[None] / card.std[0]
        views = (image_BCHW, image_BCHW.flip(3)) if mirror else (image_BCHW,)
        confusion[samples.label_N[i], int(sum(net(view).softmax(dim=1) for view in views).argmax())] += 1
    return confusion


@pytest.mark.parametrize(("split", "read"), [("auto", "test"), ("validation", "validation"), ("train", "train")])
def test_the_record_is_numpys_with_the_networks_own_size_and_normalisation(tmp_path, images, split, read, capsys):
    path = saved(tmp_path / "run" / "model.safetensors", 1)
    data = spec(images)
    score_sheet.score(EvaluateConfig(run_dir=str(tmp_path / "run"), data=data, split=split))
    confusion = expected_confusion(path, data, read)
    assert (confusion.sum(axis=0) > 0).sum() > 1, "a network that says the same of everything proves nothing"
    found = json.loads((tmp_path / "run" / f"evaluation-{read}.json").read_text())
    assert found["confusion"] == confusion.tolist() and found["classes"] == list(CLASSES)
    assert (found["samples"], found["accuracy"], found["split"]) == (12, np.trace(confusion) / 12, read)
    assert found["accuracy_interval_95"] == list(wilson(int(np.trace(confusion)), 12))
    assert {name: (row["correct"], row["samples"]) for name, row in found["per_class"].items()} == {
        name: (int(confusion[k, k]), 4) for k, name in enumerate(CLASSES)
    }
    assert found["top5"] == 1.0 and found["teacher"] is None is found["teacher_agreement"]
    assert found["data"] == source.load(data, read).fingerprint and found["weights"] == artefact.sha256(path)
    shown = capsys.readouterr().out
    assert f"{read}: 12 images" in shown and "confusion" in shown and all(name in shown for name in CLASSES)


def test_mirror_images_count_half_and_the_report_has_a_file_of_its_own(tmp_path, images):
    path = saved(tmp_path / "run" / "model.safetensors", 1)
    config = EvaluateConfig(run_dir=str(tmp_path / "run"), data=spec(images), split="train")
    score_sheet.score(config)
    score_sheet.score(replace(config, tta="hflip"))
    plain, mirrored = (
        expected_confusion(path, spec(images), "train"),
        expected_confusion(path, spec(images), "train", mirror=True),
    )
    assert (plain != mirrored).any(), "a network that takes mirror images for the same proves nothing"
    for name, confusion, tta in (("train", plain, "none"), ("hflip-train", mirrored, "hflip")):
        found = json.loads((tmp_path / "run" / f"evaluation-{name}.json").read_text())
        assert (found["confusion"], found["tta"]) == (confusion.tolist(), tta)


def test_a_class_that_the_split_lacks_is_counted_and_shown_as_none(tmp_path, images, capsys):
    path = saved(tmp_path / "run" / "model.safetensors", 1)
    shutil.rmtree(images / "test" / CLASSES[1])
    score_sheet.score(EvaluateConfig(run_dir=str(tmp_path / "run"), data=spec(images)))
    found = json.loads((tmp_path / "run" / "evaluation-test.json").read_text())
    assert found["per_class"][CLASSES[1]] == {"correct": 0, "samples": 0, "interval_95": [0.0, 1.0]}
    assert found["confusion"] == expected_confusion(path, spec(images), "test").tolist() and found["samples"] == 8
    assert any(CLASSES[1] in line and "none" in line for line in capsys.readouterr().out.splitlines())


def test_agreement_with_a_teacher_that_has_another_normalisation(tmp_path, images):
    path = saved(tmp_path / "run" / "model.safetensors", 1)
    other = saved(tmp_path / "teacher.safetensors", 2, mean=(0.6,), std=(0.3,))
    data = spec(images)
    config = EvaluateConfig(run_dir=str(tmp_path / "run"), data=data)
    score_sheet.score(replace(config, teacher=str(other)))
    samples, (net, card), (taught, own) = source.load(data, "test"), artefact.load(path), artefact.load(other)
    pixel_NCHW = torch.stack([torch.from_numpy(samples.read(i, channels=1)).permute(2, 0, 1) / 255 for i in range(12)])
    ours, theirs = ((pixel_NCHW - c.mean[0]) / c.std[0] for c in (card, own))
    agreed = int((net(ours).argmax(1) == taught(theirs).argmax(1)).sum())
    found = json.loads((tmp_path / "run" / "evaluation-test.json").read_text())
    assert found["teacher_agreement"] == agreed / 12 and found["teacher"] == str(other)
    score_sheet.score(replace(config, teacher=str(path)))
    assert json.loads((tmp_path / "run" / "evaluation-test.json").read_text())["teacher_agreement"] == 1.0


def test_other_weights_than_the_runs_own(tmp_path, images):
    path = saved(tmp_path / "elsewhere.safetensors", 3)
    score_sheet.score(EvaluateConfig(run_dir=str(tmp_path / "new"), data=spec(images), weights=str(path)))
    found = json.loads((tmp_path / "new" / "evaluation-elsewhere-test.json").read_text())
    assert found["confusion"] == expected_confusion(path, spec(images), "test").tolist()


def test_auto_takes_validation_where_there_is_no_test_split(tmp_path, images):
    (images / "test").rename(tmp_path / "aside")
    saved(tmp_path / "run" / "model.safetensors", 1)
    score_sheet.score(EvaluateConfig(run_dir=str(tmp_path / "run"), data=spec(images)))
    assert (tmp_path / "run" / "evaluation-validation.json").exists()


def test_a_run_without_weights_is_named(tmp_path, images):
    with pytest.raises(InputError, match=r"no file .*run/model\.safetensors"):
        score_sheet.score(EvaluateConfig(run_dir=str(tmp_path / "run"), data=spec(images)))


def test_the_sheet_shows_an_empty_class_and_what_a_class_is_taken_for(capsys):
    samples = replace(reference.in_memory([reference.noise(8, 8, 1)] * 10), classes=CLASSES, split="test")
    score_sheet.show(SCORES, samples, Path("evaluation-test.json"), with_teacher=True)
    shown = [line.replace("│", " ").split() for line in capsys.readouterr().out.splitlines()]
    rows = {words[0]: words[1:] for words in shown if words and words[0] in CLASSES}
    assert rows["cat"][:3] == ["4", "75.0", "%"] and rows["cat"][-2:] == ["cow", "(1)"]
    assert rows["cow"][:2] == ["0", "none"] and rows["dog"][-2:] == ["cow", "(2)"]
    assert next(words for words in shown if words[:1] == ["agrees"])[4:6] == ["60.00", "%"]
    assert ["2", "dog", "·", "2", "4"] in shown


def test_many_classes_are_not_squeezed_into_a_terminal(capsys):
    classes = tuple(f"class {k}" for k in range(score_sheet.WIDEST + 1))
    samples = replace(reference.in_memory([reference.noise(8, 8, 1)] * 2), classes=classes)
    identity = np.eye(len(classes), dtype=int)
    scores = Scores(confusion=tuple(map(tuple, identity.tolist())), top5=21, agreed=0)
    score_sheet.show(scores, samples, Path("x.json"), with_teacher=False)
    shown = capsys.readouterr().out
    assert "by class" in shown and "confusion" not in shown and "agrees" not in shown


# ---- a teacher at its own size


@pytest.fixture
def tied(tmp_path):
    """A vision transformer, which takes one size alone."""
    model = ModelSpec(name="timm/test_vit3")
    net = build(model, num_classes=3, input_CHW=(1, 32, 32)).eval()
    own = {"mean": (0.4,), "std": (0.25,), "eval_crop": 1.0, "cost": measure(net, (1, 32, 32))}
    artefact.save(tmp_path / "vit.safetensors", net, Card(model=model, classes=CLASSES, input_CHW=(1, 32, 32), **own))
    return str(tmp_path / "vit.safetensors")


def test_agreement_with_a_teacher_of_another_size_is_refused_or_at_its_own(tmp_path, images, tied, monkeypatch):
    saved(tmp_path / "run" / "model.safetensors", 1)
    config = EvaluateConfig(run_dir=str(tmp_path / "run"), data=spec(images), teacher=tied)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    with pytest.raises(
        InputError, match=r"32 x 32 pixels and cannot take 16 x 16 .*; teacher_size own resizes"
    ) as held:
        score_sheet.score(config)
    assert not list((tmp_path / "temporary").iterdir()), held
    score_sheet.score(replace(config, teacher_size="own"))
    found = json.loads((tmp_path / "run" / "evaluation-test.json").read_text())
    assert 0 <= found["teacher_agreement"] <= 1


@pytest.mark.parametrize("section", ["distill: {}", "cut: {distill: {}}", "student: {distill: {}}"])
def test_unless_told_the_teacher_sees_what_it_saw_in_the_run(tmp_path, images, tied, section):
    saved(tmp_path / "run" / "model.safetensors", 1)
    (tmp_path / "run" / "config.yaml").write_text(section.replace("distill: {}", "distill: {teacher_size: own}"))
    score_sheet.score(EvaluateConfig(run_dir=str(tmp_path / "run"), data=spec(images), teacher=tied))
    assert json.loads((tmp_path / "run" / "evaluation-test.json").read_text())["teacher"] == tied


def test_names_of_classes_are_printed_as_they_are(capsys):
    """Not read as markup, which [/b] would make an error of, after the training of a whole chain."""
    names = ("[/b]", "[red]", "dog")
    samples = SimpleNamespace(split="test", classes=names)
    score_sheet.show(SCORES, samples, Path("[/x]/evaluation-test.json"), with_teacher=False)
    shown = capsys.readouterr().out
    assert all(shown.count(name) >= 2 for name in names) and "[/x]/evaluation-test.json" in shown


def test_a_teacher_that_is_gone_is_missed_only_where_it_was_asked_for(tmp_path):
    teach(tmp_path / "teacher", "--epochs", "1")
    distil(tmp_path, tmp_path / "teacher" / "model.safetensors")
    config = reader.read(
        EvaluateConfig,
        ["--config", str(tmp_path / "config.yaml"), "--teacher", "gone.safetensors"],
        prog="x",
        description="x",
        other_sections=True,
    )
    score_sheet.score(config, teacher_asked_for=False)
    assert json.loads((tmp_path / "evaluation-test.json").read_text())["teacher_agreement"] is None
    with pytest.raises(InputError, match=r"gone\.safetensors"):
        score_sheet.score(config)
