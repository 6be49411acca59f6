"""The command: what is shown, its exit codes, and that no key is ever printed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from configs import resources
from configs.errors import UsageError
from data_pipes.executors import choice, nvjpeg
from launch.doctor import command as doctor
from launch.doctor import forecast, gpus, software
from launch.doctor.checks import Check
from launch.doctor.forecast import Forecast

ROOT = Path(__file__).parents[3]
CANARY = "canary0000000000000000000000000000000000"
GB = 10**9
FINE = Check("memory", "ok", "8.0 GB available")
SLOW = Check("CPU", "warning", "[bold]x[/bold], 64 cores in sight", "fewer threads")
BROKEN = Check("torch", "problem", "not installed", "pip install torch")


def prognosis(config: str, **changes) -> Forecast:
    facts = {"source": "idx", "images": 54_000, "largest_side": 28, "assumed": "", "executor": "resident"}
    return Forecast(config=config, **{"reason": "small", **facts, **changes})


def shown(checks, forecasts) -> str:
    console = Console(width=doctor.WIDTH, markup=False, highlight=False, record=True, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    doctor.show(checks, forecasts, console)
    return console.export_text()


@pytest.fixture
def gpu(monkeypatch):
    """One NVIDIA GPU with DALI beside it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda index: SimpleNamespace(name="NVIDIA H200", major=9, minor=0)
    )
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (140 * GB, 150 * GB))
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_90"])
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: torch.device("cuda"))
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(nvjpeg, "ask", lambda: (1, 8))
    monkeypatch.setattr(gpus, "_run", lambda *words: "")
    monkeypatch.setattr(choice, "dali_installed", lambda: True)


def test_the_gravest_level_counts():
    assert doctor.worst([FINE]) == "ok" and doctor.worst([FINE, SLOW]) == "warning"
    assert doctor.worst([SLOW, BROKEN, FINE]) == "problem"


@pytest.mark.parametrize(("checks", "code"), [([FINE], 0), ([FINE, SLOW], 0), ([FINE, BROKEN, SLOW], 1)])
@pytest.mark.parametrize("words", [[], ["--json"]])
def test_only_a_problem_is_an_exit_code(monkeypatch, capsys, checks, code, words):
    monkeypatch.setattr(doctor, "examine", lambda planned: (checks, []))
    assert doctor.main(words) == code
    printed = capsys.readouterr().out
    assert all(check.name in printed for check in checks)


def test_each_line_shows_level_and_advice_and_text_is_not_taken_for_markup(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "examine", lambda planned: ([FINE, SLOW], [prognosis("a", reason="[red]why[/red]")]))
    doctor.main([])
    text = capsys.readouterr().out
    assert "[bold]x[/bold], 64 cores in sight" in text and "-> fewer threads" in text and "[red]why[/red]" in text
    assert any({"memory", "ok"} <= set(line.split()) for line in text.splitlines())
    assert any({"CPU", "warning"} <= set(line.split()) for line in text.splitlines())


def test_configs_with_the_same_outcome_share_a_row():
    forecasts = [prognosis("a/teacher"), prognosis("b/teacher", images=9), prognosis("a/distill")]
    assert doctor.forecast_table(forecasts).row_count == 2
    assert "54,000 of up to 28 px" in shown([FINE], forecasts)


def test_assumed_figures_and_unread_data_are_marked():
    text = shown([FINE], [prognosis("a", assumed="data not found at x"), prognosis("b", images=0, executor="none")])
    assert "assumed: data not found at x" in " ".join(text.split()) and "idx: not read" in text


def test_lines_stay_within_the_width():
    long = [prognosis("configs/food11/teacher.yaml", reason="word " * 60, assumed="data not found at " + "x/" * 40)]
    assert max(map(len, shown([Check("CPU", "ok", "word " * 60)], long).splitlines())) <= doctor.WIDTH


def test_with_a_problem_the_rest_of_the_machine_is_still_judged_without_torch(monkeypatch):
    monkeypatch.setattr(software, "checks", lambda: [BROKEN])
    monkeypatch.setattr(gpus, "checks", lambda: pytest.fail("torch was asked"))
    planned = forecast.read_configs([], None)
    checks, forecasts = doctor.examine(planned)
    assert checks[0] == BROKEN and {"CPU", "memory", "run folder"} <= {check.name for check in checks}
    assert forecasts == [] and "before the problems above are mended" in shown(checks, forecasts)
    monkeypatch.setattr(software, "checks", lambda: [FINE])
    with pytest.raises(pytest.fail.Exception, match="torch was asked"):
        doctor.examine(planned)


def test_a_machine_with_a_gpu(gpu, monkeypatch, capsys):
    monkeypatch.setattr(resources, "machine_memory", lambda: 100 * GB)
    assert doctor.main(["--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    names = {check["name"] for check in found["checks"]}
    assert {"Python", "packages", "driver", "GPU 0", "JPEG hardware", "processes", "cache folder"} <= names
    executors = {one["config"]: one["executor"] for one in found["executors"]}
    assert executors["food11/teacher"].startswith("dali") and executors["digits/teacher"] == "resident"


def test_a_gpu_without_dali_is_told_what_it_lacks(gpu, monkeypatch, capsys):
    monkeypatch.setattr(choice, "dali_installed", lambda: False)
    doctor.main(["--json"])
    (food,) = [one for one in json.loads(capsys.readouterr().out)["executors"] if one["config"] == "food11/teacher"]
    assert food["executor"] == "resident" and "pip install nvidia-dali-cuda120" in food["reason"]


def command(*words: str, **environment: str) -> subprocess.CompletedProcess:
    argv = [sys.executable, "-m", "launch.doctor", *words]
    return subprocess.run(
        argv, capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, **environment}
    )


def test_the_command_reports_on_this_machine_and_prints_no_key():
    done = command("--config", "configs/digits/teacher.yaml", WANDB_API_KEY=CANARY)
    assert done.returncode == 0, done.stderr
    assert "key in WANDB_API_KEY" in done.stdout  # the key was there to be seen
    assert CANARY not in done.stdout + done.stderr
    assert "configs/digits/teacher.yaml" in done.stdout and "resident" in done.stdout and "torch" in done.stdout
    assert "food11" not in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--conf", "x"], "unrecognized arguments: --conf x"),
        (["--config"], "--config: expected one argument"),
        (["--config", "no-such.yaml"], "no-such.yaml"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_a_usage_error(words, message):
    with pytest.raises((UsageError, OSError), match=message):
        doctor.main(words)


def test_help_and_wrong_options_answer_without_torch():
    code = "import sys; sys.modules['torch'] = None; from configs import reader; "
    code += "from launch.doctor import command as doctor; "
    code += "reader.command(lambda: sys.exit(doctor.main(sys.argv[1:])))"
    for words, status, text in ((["--help"], 0, "--data.root"), (["--wrong"], 64, "--wrong"), (["--json"], 1, "torch")):
        argv = [sys.executable, "-c", code, *words]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == status and text in done.stdout + done.stderr and "Traceback" not in done.stderr
