"""What a sweep may be compared by is what real runs leave: no name too many, and none too few."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState, GradientState

import tiny_digits
from configs import reader
from launch.sweep.metric_names import metric_names
from train.config import TeacherConfig
from train.prune import chain
from train.prune.config import PruneConfig
from train.stage.run import run as run_stage

EVERYTHING = ["--distill.hint", "1", "--distill.attention", "1", "--distill.layers", "[[layer2, layer2]]"]
EVERYTHING += ["--optim.clip_norm", "1", "--views", "4", "--epochs", "1"]
UNCOMPARED = {"accuracy", "accuracy_samples", "processes", "seed", "test_reads", "train/step"}
TEACHER = str(tiny_digits.DIGITS / "teacher.yaml")
PRUNE = str(tiny_digits.DIGITS / "prune.yaml")


@pytest.fixture(autouse=True)
def as_in_a_new_process():
    """Accelerate keeps one state per process."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def numbers(run: Path) -> set[str]:
    """The names of all numbers that a run left, but those that nobody would compare by."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    result = json.loads((run / "result.json").read_text())
    found = {name for values in (*lines, result) for name, value in values.items() if isinstance(value, int | float)}
    return found - UNCOMPARED


def test_runs_log_what_is_promised(tmp_path):
    tiny = ["--batch_size", "256", "--data.image_size", "[8, 8]", "--data.augment.rotation", "0", "--epochs", "1"]
    tiny += ["--optim.warmup_epochs", "0", "--track.every", "1", "--data.threads", "1", "--track.pictures", "false"]
    words = ["--config", TEACHER, *tiny, "--model.widths", "[2, 4, 8]", "--optim.clip_norm", "1"]
    words += ["--run_dir", str(tmp_path / "t")]
    run_stage(reader.read(TeacherConfig, words, prog="x", description=""), "teacher")
    assert numbers(tmp_path / "t") == {*metric_names("train.teacher")}

    tiny_digits.save(tmp_path / "teacher.safetensors", widths=(2, 4, 8))
    kd = tiny_digits.train(tmp_path, "kd", *EVERYTHING)
    dkd = tiny_digits.train(tmp_path, "dkd", *EVERYTHING, "--distill.soft", "dkd")
    assert numbers(kd) | numbers(dkd) == {*metric_names("train.distill")}
    assert numbers(kd) ^ numbers(dkd) == {f"{prefix}/{name}" for prefix in ("train", "step") for name in ("kd", "dkd")}

    words = ["--config", PRUNE, *tiny, "--final_epochs", "1", "--prune.steps", "2", "--prune.budget.parameters", "1000"]
    words += ["--student.name", str(kd / "model.safetensors"), "--teacher", str(tmp_path / "teacher.safetensors")]
    chain.run(reader.read(PruneConfig, [*words, "--run_dir", str(tmp_path / "p")], prog="x", description=""))
    assert numbers(tmp_path / "p") >= {*metric_names("train.prune")}
