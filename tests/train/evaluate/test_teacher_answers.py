"""A teacher answers each validation image once a process, and its answers give the agreement that it gives itself."""

import json
import math
from dataclasses import replace

import pytest
import torch

import tiny_digits
from configs import reader
from train.config import DistillConfig
from train.evaluate import teacher_answers
from train.evaluate.evaluation import evaluate
from train.evaluate.teacher_answers import on_validation
from train.live_teacher import LiveTeacher
from train.loaders import training_data, training_layout
from train.processes import make_accelerator


@pytest.fixture
def calls(monkeypatch):
    """How often all images were put to a teacher."""
    found, real = [], teacher_answers.predictions
    monkeypatch.setattr(teacher_answers, "predictions", lambda *words: found.append(1) or real(*words))
    monkeypatch.setattr(teacher_answers, "_known", {})
    return found


def test_agreement_by_kept_answers_is_that_of_the_live_teacher(tmp_path, calls):
    tiny_digits.save(tmp_path / "teacher.safetensors")
    tiny_digits.save(tmp_path / "other.safetensors", seed=5)
    words = tiny_digits.words(tmp_path, "run")
    config = reader.read(DistillConfig, words, prog="x", description="")
    accelerator = make_accelerator("float32")
    data = training_data(config, accelerator, training_layout(accelerator, config.batch_size, None))
    teacher, other = (
        LiveTeacher.load(str(tmp_path / f"{name}.safetensors"), config.data, data.train.classes)
        for name in ("teacher", "other")
    )
    taught_N = on_validation(teacher, config, data, accelerator)
    assert on_validation(teacher, config, data, accelerator) is taught_N and len(calls) == 1
    pair = accelerator, other.model, data.validation_loader
    by_kept = evaluate(*pair[:2], pair[2].epoch(0), 10, taught_N=taught_N)
    live = evaluate(*pair[:2], pair[2].epoch(0), 10, teacher=teacher)
    assert by_kept == live and 0 < live.agreed < live.count
    assert evaluate(accelerator, teacher.model, pair[2].epoch(0), 10, taught_N=taught_N).agreement == 1
    on_validation(other, replace(config, teacher=str(tmp_path / "other.safetensors")), data, accelerator)
    assert len(teacher_answers._known) == 1 and len(calls) == 2, "those of another teacher take their place"
    data.train_loader.close()
    data.validation_loader.close()


def test_an_answer_that_is_not_finite_is_no_fault_of_the_training_images(tmp_path, calls):
    tiny_digits.save(tmp_path / "teacher.safetensors")
    config = reader.read(DistillConfig, tiny_digits.words(tmp_path, "run"), prog="x", description="")
    accelerator = make_accelerator("float32")
    data = training_data(config, accelerator, training_layout(accelerator, config.batch_size, None))
    teacher = LiveTeacher.load(str(tmp_path / "teacher.safetensors"), config.data, data.train.classes)
    torch.nn.init.constant_(teacher.net.fc.bias, math.inf)
    on_validation(teacher, config, data, accelerator)
    assert teacher.finite is True
    teacher(next(data.validation_loader.epoch(0)), accelerator.autocast())
    assert not teacher.finite, "negative control"
    data.train_loader.close()
    data.validation_loader.close()


def test_a_run_counts_agreement_on_validation_unless_told_not_to(tmp_path, calls):
    tiny_digits.save(tmp_path / "teacher.safetensors")
    fast = ["--epochs", "1", "--distill.teacher_check", "0"]
    for name, agreement in (("on", "true"), ("off", "false")):
        tiny_digits.train(tmp_path, name, *fast, "--track.agreement", agreement)
    rows = {
        name: json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[-1]) for name in ("on", "off")
    }
    assert 0 <= rows["on"]["validation/agreement"] <= 1 and rows["off"].keys() >= {"train/agreement"}
    assert "validation/agreement" not in rows["off"] and tiny_digits.sha(tmp_path / "on") == tiny_digits.sha(
        tmp_path / "off"
    )
