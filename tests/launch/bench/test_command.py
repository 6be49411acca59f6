"""The command line of the bench: what it answers without torch, what it refuses, and what it prints."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from configs import reader
from configs.errors import UsageError
from launch.bench import command as bench
from launch.bench import report
from launch.bench.config import VARIANTS, DistillStepConfig, LoaderConfig, TeacherStepConfig
from launch.bench.rounds import Goal, Lap, Ratio, Spread

ROOT = Path(__file__).parents[3]
CONFIGS = sorted(str(path) for path in (ROOT / "configs").glob("*/*.yaml") if "source:" in path.read_text())
DIGITS = str(ROOT / "configs" / "digits" / "distill.yaml")


def start(*words: str) -> subprocess.CompletedProcess:
    """The command where importing torch fails."""
    program = "import sys\nsys.modules['torch'] = None\nfrom configs import reader\n"
    program += "from launch.bench import command as bench\n"
    command = [sys.executable, "-c", program + "reader.command(bench.main)", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.mark.parametrize("words", [(), ("--help",), ("loader", "--help"), ("step", "--help"), ("teacher", "--help")])
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
    with pytest.raises(UsageError, match=rf"unknown word {word}; expected .* loader, step or teacher"):
        bench.main()


def read(*words: str) -> LoaderConfig:
    return reader.read(LoaderConfig, bench.with_value("--json", words), prog="p", description="d", other_sections=True)


@pytest.mark.parametrize(
    ("words", "expected"),
    [((), False), (("--json",), True), (("--json", "--rounds", "2"), True), (("--rounds", "2", "--json"), True),
     (("--json", "true"), True), (("--json=true",), True), (("--json", "false"), False)],
)  # fmt: skip
def test_json_may_stand_alone_or_with_a_value(words, expected):
    assert read("--config", DIGITS, *words).json is expected


@pytest.mark.parametrize("path", CONFIGS)
def test_every_training_config_serves(path):
    assert read("--config", path).data.source in path or "fashion" in path
    expected = TeacherStepConfig if path.endswith("teacher.yaml") else DistillStepConfig
    assert bench.step_class(["--config", path]) is expected
    assert bench.step_class([f"--config={path}", "--rounds", "3"]) is expected


def test_options_alone_say_whose_step_it_is():
    assert bench.step_class(["--model.name", "resnet_small"]) is TeacherStepConfig
    assert bench.step_class(["--student.name=resnet_small", "--teacher", "model"]) is DistillStepConfig


def test_without_the_teachers_file_the_message_says_how_to_do_without():
    words = ["--config", DIGITS, "--teacher", "/nowhere/model.safetensors"]
    with pytest.raises(UsageError, match=r"teacher /nowhere/model.safetensors does not exist: .* --distill.alpha 0"):
        reader.read(DistillStepConfig, words, prog="p", description="d")
    config = reader.read(DistillStepConfig, [*words, "--distill.alpha", "0"], prog="p", description="d")
    assert not config.distill.needs_teacher


@pytest.mark.parametrize(
    ("key", "value"), [("rounds", "0"), ("images", "0"), ("batch_size", "0"), ("seconds", "-1"), ("seed", "-1")]
)
def test_wrong_numbers_are_named(key, value):
    with pytest.raises(UsageError, match=f"^{key} is "):
        read("--config", DIGITS, f"--{key}", value)


def made_up() -> report.Report:
    laps = {"host": [Lap(100, 0.1, 0.2), Lap(100, 0.2, 0.2)], "pil-2": [Lap(100, 1.0, None), Lap(100, 1.0, 1.0)]}
    reached = Ratio(Goal("host/best pil", "host", ("pil-0", "pil-2"), 3.0), "pil-2", Spread(7.5, 5.0, 10.0))
    missed = Ratio(Goal("host/decode", "host", ("decode",), 0.7), "decode", Spread(0.69, 0.6, 0.9))
    return report.Report(
        work="made up", laps=laps, notes={"host": "ours", "pil-2": "theirs"}, ratios=[reached, missed],
        left_out={"tv2": "no reason"}, figures={"plan_us_per_sample": 1.5}, footer=["below"],
        environment={"cpu": "abacus", "cores": 2, "gpus": [], "load_average": 0.25, "python": "3.11", "packages": {}},
    )  # fmt: skip


def test_json_has_everything(capsys):
    made_up().write(as_json=True)
    found = json.loads(capsys.readouterr().out)
    host = {"images_per_second": 750, "images_per_second_min": 500, "images_per_second_max": 1000, "cpu_ms": 2.0}
    assert found["variants"]["host"] == pytest.approx(host)
    assert found["variants"]["pil-2"]["cpu_ms"] is None
    ratio = {"ratio": 7.5, "ratio_min": 5.0, "ratio_max": 10.0, "goal": 3.0, "against": "pil-2"}
    assert found["ratios"]["host/best pil"] == ratio
    assert found["plan_us_per_sample"] == 1.5 and found["left_out"] == {"tv2": "no reason"}
    assert found["environment"]["cpu"] == "abacus"
    assert set(found) == {"variants", "ratios", "plan_us_per_sample", "left_out", "environment"}


def test_the_table_has_everything_in_lines_that_fit():
    console = Console(width=report.WIDTH, record=True, file=io.StringIO())
    made_up().print_to(console)
    lines = [" ".join(line.split()) for line in console.export_text().splitlines()]
    for expected in (
        "abacus, 2 cores; no GPU; load average 0.2 before the start", "made up", "host 750 500 .. 1,000 2 ours",
        "pil-2 100 100 .. 100 ? theirs", "host / pil-2 (best pil) 7.5 5 .. 10 3 reached",
        "host / decode 0.69 0.6 .. 0.9 0.7 missed", "below", "left out: tv2: no reason",
    ):  # fmt: skip
        assert expected in lines


def test_a_run_prints_one_object_and_nothing_else():
    words = ["loader", "--config", DIGITS, "--variants", "[pil-2, host, decode]", "--batch_size", "8", "--images", "8"]
    command = [sys.executable, "-m", "launch.bench", *words, "--rounds", "2", "--seconds", "0", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    found = json.loads(done.stdout)
    assert list(found["variants"]) == ["pil-2", "host"] and list(found["left_out"]) == ["decode"]
    assert all(found["variants"][name]["cpu_ms"] > 0 for name in ("pil-2", "host"))
    assert found["ratios"]["host/best pil"]["ratio"] > 0 and found["plan_us_per_sample"] > 0
    assert found["environment"]["images"] == 32 and set(found["variants"]) < set(VARIANTS)
