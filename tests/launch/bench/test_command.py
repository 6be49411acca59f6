"""The command line of the bench: what it answers without torch, what it refuses, and what it prints."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench_command import DIGITS, ROOT, read
from configs.errors import UsageError
from launch.bench import command as bench
from launch.bench.config import VARIANTS, DistillStepConfig, TeacherStepConfig

CONFIGS = sorted(str(path) for path in (ROOT / "configs").glob("*/*.yaml") if "source:" in path.read_text())


def start(*words: str) -> subprocess.CompletedProcess:
    """The command where importing torch fails."""
    program = "import sys\nsys.modules['torch'] = None\nfrom configs import reader\n"
    program += "from launch.bench import command as bench\n"
    command = [sys.executable, "-c", program + "reader.command(bench.main)", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.mark.parametrize(
    "words",
    [(), ("--help",), *((word, "--help") for word in ("loader", "step", "teacher", "scale", "gpu"))],
)
def test_help_answers_without_torch(words):
    done = start(*words)
    assert done.returncode == 0 and "--json" in done.stdout and not done.stderr


def test_config_errors_answer_without_torch():
    done = start("loader", "--config", DIGITS, "--variants", "[pil-2, pil-3]")
    assert done.returncode == 64 and "variants is 'pil-3'; it must be some of pil-0, pil-2, " in done.stderr


def test_the_control_a_config_that_holds_does_load_torch():
    assert "import of torch halted" in start("loader", "--config", DIGITS).stderr


@pytest.mark.parametrize("word", ["lodaer", "--json"])
def test_an_unknown_word_is_answered_with_the_known_ones(monkeypatch, word):
    monkeypatch.setattr(sys, "argv", ["bench", word])
    with pytest.raises(UsageError, match=rf"unknown word {word}; expected .* loader, step, teacher, scale or gpu"):
        bench.main()


@pytest.mark.parametrize(
    ("words", "expected"),
    [((), False), (("--json",), True), (("--json", "--rounds", "2"), True), (("--rounds", "2", "--json"), True),
     (("--json", "true"), True), (("--json=true",), True), (("--json", "false"), False)],
)  # fmt: skip
def test_json_may_stand_alone_or_with_a_value(words, expected):
    assert read("--config", DIGITS, *words).json is expected


@pytest.mark.parametrize("path", CONFIGS)
def test_every_training_config_serves(path):
    named = {"idx": ["fashion_mnist"], "folder": ["photos"], "food11": ["food10", "food11"]}
    source = read("--config", path).data.source
    assert Path(path).parent.name in named.get(source, [source])
    expected = TeacherStepConfig if path.endswith("teacher.yaml") else DistillStepConfig
    assert bench.step_class(["--config", path]) is expected
    assert bench.step_class([f"--config={path}", "--rounds", "3"]) is expected


def test_options_alone_say_whose_step_it_is():
    assert bench.step_class(["--model.name", "resnet_small"]) is TeacherStepConfig
    assert bench.step_class(["--student.name=resnet_small", "--teacher", "model"]) is DistillStepConfig


def test_a_run_prints_one_object_and_nothing_else():
    words = ["loader", "--config", DIGITS, "--variants", "[pil-2, host, decode]", "--batch_size", "8", "--images", "8"]
    command = [sys.executable, "-m", "launch.bench", *words, "--rounds", "2", "--seconds", "0", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    found = json.loads(done.stdout)
    assert list(found["variants"]) == ["pil-2", "host"] and list(found["left_out"]) == ["decode"]
    assert all(found["variants"][name]["cpu_ms"] > 0 for name in ("pil-2", "host"))
    assert found["ratios"]["host/best pil"]["ratio"] > 0 and found["plan_us_per_sample"] > 0
    assert found["environment"]["images"] == 32 and set(found["variants"]) < set(VARIANTS)
