"""Whole runs: every option once, and what each leaves behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from configs import reader
from configs.errors import InputError
from digit_runs import DIGITS, distil, lines, teach
from models import artefact
from train.config import TeacherConfig
from train.stage.run import run as run_stage
from train.state import TrainState


@pytest.mark.parametrize(
    "options",
    [
        ["--precision", "bf16"],
        ["--precision", "float64"],
        ["--ema", "0.9"],
        ["--micro_batch_size", "16"],
        [
            "--optim.name",
            "sgd",
            "--optim.lr",
            "0.1",
            "--optim.schedule",
            "step",
            "--optim.step_epochs",
            "0.5",
            "--label_smoothing",
            "0.1",
        ],
        ["--data.executor", "host", "--data.augment.mixup", "0.2", "--data.augment.cutmix", "1.0"],
    ],
    ids=lambda options: " ".join(options[:2]),
)
def test_options_train(options: list[str], tmp_path: Path) -> None:
    result = teach(tmp_path, "--epochs", "2", "--track.every", "10", *options)
    losses = [line["step/ce"] for line in lines(tmp_path) if "step/ce" in line]
    assert losses[-1] < losses[0] - 0.02
    assert result["epochs"] == 2


def test_every_term_of_the_loss(teacher: Path, tmp_path: Path) -> None:
    pairs = "[[layer2, layer2], [layer3, layer3]]"
    aligned = ["--distill.hint", "1", "--distill.attention", "10", "--distill.layers", pairs]
    distil(tmp_path, teacher, *aligned, "--distill.soft", "dkd", "--data.augment.mixup", "0.2", "--track.every", "5")
    assert {"step/ce", "step/dkd", "step/hint", "step/attention", "step/loss"} <= lines(tmp_path)[0].keys()
    net, _ = artefact.load(tmp_path / "model.safetensors")
    assert not [name for name in net.state_dict() if "adapter" in name]
    first, *_, last = (line["step/hint"] for line in lines(tmp_path) if "step/hint" in line)
    assert last < first


def test_without_a_teacher_it_is_supervised_training(teacher: Path, tmp_path: Path) -> None:
    result = distil(tmp_path, teacher, "--distill.alpha", "0", "--track.every", "5")
    assert result["teacher"] is None
    assert "step/kd" not in lines(tmp_path)[0]


def test_fine_tuning_starts_from_a_saved_network(teacher: Path, tmp_path: Path) -> None:
    whole = ["--config", str(DIGITS / "teacher.yaml"), "--run_dir", str(tmp_path), "--model.name", str(teacher)]
    config = reader.read(TeacherConfig, [*whole, "--epochs", "1", "--optim.lr", "1e-6"], prog="x", description="x")
    with pytest.raises(Exception, match="depth"):
        run_stage(config, "teacher")  # a saved network has its shape already
    settings = yaml.safe_load((DIGITS / "teacher.yaml").read_text())
    settings["model"] = {"name": str(teacher)}
    (tmp_path / "tune.yaml").write_text(yaml.safe_dump(settings))
    tuned = ["--config", str(tmp_path / "tune.yaml"), "--run_dir", str(tmp_path / "run"), "--epochs", "1"]
    frozen = ["--optim.lr", "1e-6", "--optim.warmup_epochs", "0"]
    run_stage(reader.read(TeacherConfig, [*tuned, *frozen], prog="x", description="x"), "teacher")
    before, after = artefact.read_card(teacher), artefact.read_card(tmp_path / "run" / "model.safetensors")
    assert after.model == before.model
    assert abs(after.scores["validation"].accuracy - before.scores["validation"].accuracy) < 0.1


def test_a_checkpoint_of_another_folder_is_not_loaded_silently(teacher: Path, tmp_path: Path) -> None:
    teach(tmp_path / "one", "--epochs", "1")
    for checkpoint in (tmp_path / "one" / "checkpoints").glob("step-*"):
        (checkpoint / "state.safetensors").write_bytes(b"not a checkpoint")
    (tmp_path / "one" / "done").unlink()
    with pytest.raises(InputError, match="damaged"):
        teach(tmp_path / "one", "--epochs", "1")


@pytest.mark.parametrize(("first", "then", "told"), [("host", "dali", True), ("host", "host", False)])
def test_the_executor_may_change_at_a_checkpoint(
    first: str,
    then: str,
    told: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(TrainState, "save", save_and_die)
        with pytest.raises(KeyboardInterrupt):
            teach(tmp_path, "--epochs", "2", "--data.executor", first)
    capfd.readouterr()
    assert teach(tmp_path, "--epochs", "2", "--data.executor", then)["epochs"] == 2
    said = capfd.readouterr().err
    assert "resumed at epoch 2" in said
    message = (
        "the executor was host and is now dali (canvas), canvas_scale 1.14: samples, order and views stay the same"
    )
    assert (message in said) is told


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """train/, val/ and test/ of two classes; one file under test/ is cut short."""
    for split, count in (("train", 6), ("val", 4), ("test", 4)):
        for label, name in enumerate(("a", "b")):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for i in range(count):
                level = 100 * label + 10 * i
                Image.new("L", (8, 8), level).save(tmp_path / "data" / split / name / f"{i}.png")
    bad = tmp_path / "data" / "test" / "b" / "3.png"
    bad.write_bytes(bad.read_bytes()[:40])
    return tmp_path / "data"


def save_and_die(state: TrainState, folder: Path, save: Any = TrainState.save) -> None:
    save(state, folder)
    raise KeyboardInterrupt


def test_a_network_whose_state_dict_has_a_version_is_delivered_and_resumed(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And ends with the same weights, moving average included, as a run that nothing stopped."""
    settings = yaml.safe_load((DIGITS / "teacher.yaml").read_text())
    settings |= {"model": {"name": "torchvision/mnasnet0_5"}, "epochs": 2, "batch_size": 4, "ema": 0.9, "test": False}
    settings["track"] = {"pictures": False}
    settings["data"] |= {"source": "folder", "root": str(photographs), "image_size": [8, 8]}
    (tmp_path / "mnasnet.yaml").write_text(yaml.safe_dump(settings))

    def train(run: str) -> None:
        words = ["--config", str(tmp_path / "mnasnet.yaml"), "--run_dir", str(tmp_path / run)]
        run_stage(reader.read(TeacherConfig, words, prog="x", description="x"), "teacher")

    train("whole")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(TrainState, "save", save_and_die)
        train("stopped")
    train("stopped")
    whole, stopped = (artefact.load(tmp_path / run / "model.safetensors")[0] for run in ("whole", "stopped"))
    assert all(torch.equal(value, stopped.state_dict()[name]) for name, value in whole.state_dict().items())


def teach_photographs(root: Path, folder: Path, *options: str) -> dict[str, Any]:
    words = ["--data.source", "folder", "--data.root", str(root), "--batch_size", "4", "--epochs", "2"]
    return teach(folder, *words, "--data.image_size", "[8, 8]", *options)


def test_a_bad_file_under_test_is_found_before_the_first_step_and_the_way_out_is_taken(
    photographs: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with pytest.raises(InputError, match=r"test/b/3\.png.*data\.bad_files: skip"):
        teach_photographs(photographs, run)
    assert not (run / "checkpoints").exists()
    result = teach_photographs(photographs, run, "--data.bad_files", "skip")
    assert (result["accuracy_split"], result["accuracy_samples"]) == ("test", 7)


def test_a_run_that_leaves_test_alone_does_not_look_for_bad_files_there(photographs: Path, tmp_path: Path) -> None:
    assert teach_photographs(photographs, tmp_path / "run", "--test", "false")["accuracy_split"] == "validation"


def stopped_after_an_epoch(monkeypatch: pytest.MonkeyPatch, root: Path, run: Path) -> None:
    """A run that has a checkpoint, and was begun while all files were sound."""
    bad = root / "test" / "b" / "3.png"
    damaged = bad.read_bytes()
    Image.new("L", (8, 8), 130).save(bad)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(TrainState, "save", save_and_die)
        teach_photographs(root, run)
    bad.write_bytes(damaged)


@pytest.mark.parametrize(
    ("options", "split", "samples"),
    [(["--data.bad_files", "skip"], "test", 7), (["--test", "false"], "validation", 8)],
    ids=["skip", "no test"],
)
def test_both_ways_out_are_open_to_a_run_that_goes_on(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], split: str, samples: int
) -> None:
    stopped_after_an_epoch(monkeypatch, photographs, tmp_path / "run")
    with pytest.raises(InputError, match=r"test/b/3\.png"):
        teach_photographs(photographs, tmp_path / "run")
    result = teach_photographs(photographs, tmp_path / "run", *options)
    assert (result["accuracy_split"], result["accuracy_samples"], result["epochs"]) == (split, samples, 2)


def test_bad_files_may_not_be_skipped_where_other_images_would_be_trained_on(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_after_an_epoch(monkeypatch, photographs, tmp_path / "run")
    (photographs / "train" / "a" / "2.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"train in data\.root: other images, labels or classes than the run in"):
        teach_photographs(photographs, tmp_path / "run", "--data.bad_files", "skip")
