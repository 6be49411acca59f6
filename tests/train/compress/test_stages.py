"""The plan of a chain, in words."""

from __future__ import annotations

from pathlib import Path

from configs import reader
from train.compress import stages
from train.compress.config import CompressConfig

DIGITS = Path(__file__).parents[3] / "configs" / "digits" / "compress.yaml"


def read(folder: Path, *options: str) -> CompressConfig:
    words = ["--config", str(DIGITS), "--run_dir", str(folder), *options]
    return reader.read(CompressConfig, words, prog="x", description="x")


def test_every_stage_is_a_line_with_its_length(tmp_path: Path) -> None:
    assert stages.plan(read(tmp_path)) == [
        "1 of 4  teacher: resnet_small, 12 epochs",
        "2 of 4  student: resnet_small, 16 epochs",
        "3 of 4  cut: 4 cuts to 2,600 parameters, 4 epochs after each, 32 after the last",
        "4 of 4  scores on test, or validation without one, model.onnx beside the teacher",
    ]


def test_what_is_there_already_is_said(tmp_path: Path) -> None:
    (tmp_path / "student").mkdir()
    (tmp_path / "student" / "done").touch()
    given = ["--teacher", "t.safetensors", "--teacher_training", "null", "--onnx", "false", "--test", "false"]
    cuts = ["--cut.prune.steps", "1", "--cut.prune.budget.macs", "70000", "--cut.final_epochs", "null"]
    assert stages.plan(read(tmp_path, *given, *cuts)) == [
        "1 of 3  student: resnet_small, 16 epochs with the teacher t.safetensors (done)",
        "2 of 3  cut: 1 cut to 2,600 parameters and 70,000 MACs, 4 epochs after the last",
        "3 of 3  scores on validation",
    ]


def test_short_epochs_are_named(tmp_path: Path) -> None:
    plan = stages.plan(read(tmp_path, "--cut.epoch_share", "0.25"))
    assert (
        plan[2]
        == "3 of 4  cut: 4 cuts to 2,600 parameters, 4 epochs of 25 % of the images after each, 32 after the last"
    )
