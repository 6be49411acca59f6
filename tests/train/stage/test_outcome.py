"""Files of a finished run: the weights of the best epoch, the lineage, test read once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
import torch_pruning as tp
import yaml

from configs import reader
from digit_runs import DIGITS, distil, lines, teach
from models import artefact, state_dicts
from models.counting import measure
from train.config import DistillConfig
from train.processes import start
from train.run_folder import readings
from train.run_folder.run_dir import RunDir
from train.stage import outcome
from train.stage.assembly import assemble
from train.stage.run import run as run_stage


def test_the_saved_weights_are_those_of_the_best_epoch(tmp_path: Path) -> None:
    result = teach(tmp_path, "--epochs", "3", "--optim.lr", "0.05")
    accuracies = [line["validation/accuracy"] for line in lines(tmp_path) if "validation/accuracy" in line]
    assert len(accuracies) == 3
    assert result["validation_accuracy"] == max(accuracies)
    assert accuracies[result["best_epoch"] - 1] == max(accuracies)
    card = artefact.read_card(tmp_path / "model.safetensors")
    assert card.scores["validation"].accuracy == result["validation_accuracy"]
    assert card.scores["test"].accuracy == result["accuracy"]
    assert card.classes == tuple("0123456789")
    (read,) = readings.read(tmp_path).readings
    net = artefact.load(tmp_path / "model.safetensors")[0]
    assert (read.command, read.split, read.images) == ("train.teacher", "test", 359) and result["test_reads"] == 1
    assert read.weights == state_dicts.digest(net) and read.own


def test_pictures_are_drawn_unless_told_otherwise(tmp_path: Path) -> None:
    for wanted, there in (("true", ["confusion.png", "curves.png", "images.png"]), ("false", [])):
        teach(tmp_path / wanted, "--epochs", "1", "--track.pictures", wanted)
        assert sorted(path.name for path in (tmp_path / wanted).glob("*.png")) == there


def test_the_lineage_names_the_teacher(teacher: Path, tmp_path: Path) -> None:
    distil(tmp_path, teacher)
    lineage = artefact.read_card(tmp_path / "model.safetensors").lineage
    assert lineage["teacher_sha256"] == artefact.sha256(teacher)


def test_the_test_split_is_left_alone_when_told_so(tmp_path: Path) -> None:
    result = teach(tmp_path, "--epochs", "1", "--test", "false")
    assert result["accuracy_split"] == "validation" and result["test_reads"] == 0
    assert not (tmp_path / readings.NAME).exists()
    assert "test" not in artefact.read_card(tmp_path / "model.safetensors").scores


def test_a_teacher_that_is_gone_at_the_end_is_in_the_lineage_all_the_same(teacher: Path, tmp_path: Path) -> None:
    own = tmp_path / "teacher.safetensors"
    own.write_bytes(teacher.read_bytes())
    words = ["--config", str(DIGITS / "distill.yaml"), "--run_dir", str(tmp_path / "run"), "--epochs", "1"]
    config = reader.read(DistillConfig, [*words, "--teacher", str(own)], prog="x", description="x")
    accelerator = start(config.precision)
    (tmp_path / "run").mkdir()
    loop = assemble(config, accelerator, RunDir(tmp_path / "run"), "distill")
    own.unlink()
    with loop.tracker:
        loop.fit()
        outcome.finish(loop)
    lineage = artefact.read_card(tmp_path / "run" / "model.safetensors").lineage
    assert lineage["teacher_sha256"] == artefact.sha256(teacher)


def test_a_pruned_file_can_be_trained_on_and_is_saved_as_one(teacher: Path, tmp_path: Path) -> None:
    net, card = artefact.load(teacher)
    example = torch.zeros(2, *card.input_CHW)
    pruner = tp.MetaPruner(
        net, example, tp.importance.MagnitudeImportance(), pruning_ratio=0.5, ignored_layers=[net.fc]
    )
    pruner.step()
    cut = replace(card, pruned=True, cost=measure(net, card.input_CHW))
    artefact.save(tmp_path / "cut.safetensors", net, cut)
    settings = yaml.safe_load((DIGITS / "distill.yaml").read_text())
    settings["student"] = {"name": str(tmp_path / "cut.safetensors")}
    (tmp_path / "tune.yaml").write_text(yaml.safe_dump(settings))
    words = ["--config", str(tmp_path / "tune.yaml"), "--run_dir", str(tmp_path / "run"), "--epochs", "1"]
    config = reader.read(DistillConfig, [*words, "--teacher", str(teacher)], prog="x", description="x")
    run_stage(config, "distill")
    tuned, after = artefact.load(tmp_path / "run" / "model.safetensors")
    assert after.pruned and after.model == card.model
    assert after.cost.parameters == cut.cost.parameters < card.cost.parameters
    assert tuned(torch.zeros(1, *card.input_CHW)).shape == (1, 10)
