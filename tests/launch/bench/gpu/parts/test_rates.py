"""Times between the ends of epochs, of commands that print what runs print (test_resume.py compares the lines)."""

import sys

import pytest

from configs import reader
from gpu_parts import column, small
from launch.bench.gpu.config import PartConfig
from launch.bench.gpu.parts import material, rates, recipes
from train.config import DistillConfig

PRINTS = """
import sys, time
print("08:10:31  data: 11 classes (a, b, c, d, e and 6 more), 1,088 train, 44 validation images", flush=True)
for epoch in range(3):
    time.sleep(0.05)
    print(f"08:10:36  epoch {epoch + 1}/3  loss 1.2324  validation 9.09 %  25 images/s", flush=True)
print("about 3 min left in this training", file=sys.stderr, flush=True)
"""


@pytest.fixture
def printing(monkeypatch):
    """A program in the place of train.distill."""
    monkeypatch.setattr(recipes, "python", lambda module, *_: [sys.executable, "-S", "-c", PRINTS])


def test_the_first_epoch_does_not_count(printing):
    found = rates.watch([])
    assert found.images == 1088 and len(found.ends) == 3 and len(found.epochs) == 2
    assert found.rate == pytest.approx(2 * 1088 / (found.ends[2] - found.ends[0]))
    assert min(found.epochs) >= 0.04


def test_a_command_that_fails_or_says_too_little_is_an_error(monkeypatch):
    for program, message in (
        ("import sys; print('error: no'); sys.exit(66)", "exit code 66: error: no"),
        ("", "exit code 0: "),
    ):
        monkeypatch.setattr(recipes, "python", lambda *_, own=program: [sys.executable, "-S", "-c", own])
        with pytest.raises(RuntimeError, match=message):
            rates.watch([])


def test_every_command_is_watched(tmp_path, printing, monkeypatch):
    monkeypatch.setattr(recipes, "teacher", lambda config: "teacher.safetensors")
    found = rates.run(small(tmp_path), "rates")
    assert len(column(found, "Rates", "command")) == 3 and set(column(found, "Rates", "images")) == {1088}


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_command_is_a_config(tmp_path, monkeypatch, device):
    for name in ("PHOTOGRAPHS", "ARRAYS"):
        monkeypatch.setattr(material, name, getattr(material, f"FEW_{name}"))
    monkeypatch.setattr(recipes, "teacher", lambda config: "teacher.safetensors")
    found = rates.commands(PartConfig(device=device, work=str(tmp_path), answer="a"))
    configs = [
        reader.read(DistillConfig, [*words, "--run_dir", "run"], prog="p", description="d") for words in found.values()
    ]
    assert len(found) == (3 if device == "cpu" else 7) and all(config.epochs >= 2 for config in configs)
    assert [config.precision for config in configs].count("bf16") == (0 if device == "cpu" else 3)
    assert [config.distill.teacher_logits for config in configs].count("write_through") == 1
