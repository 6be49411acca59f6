"""The commands as a user types them, one after another, on real digits."""

from __future__ import annotations

import csv
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from PIL import Image

import forked
from data_pipes.sources import source
from data_pipes.spec import DataSpec
from train.run_folder.run_dir import RunDir

pytestmark = pytest.mark.launcher
ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "configs" / "digits"
COMMANDS = ["train.teacher", "train.distill", "train.evaluate", "train.predict", "data_pipes.preview"]
RESULT_KEYS = {"accuracy", "parameters", "nonzero", "macs", "epochs", "seconds", "images_per_second", "seed"}


def run(*words: str, expect: int = 0, cwd: Path = ROOT) -> forked.Ended:
    ended = forked.run(*words, prelude="import os; os.environ['COLUMNS'] = '120'", cwd=cwd)
    assert ended.code == expect, ended.stdout + ended.stderr
    return ended


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher (through accelerate launch) and a student (plain python), from another folder than the checkout."""
    home = tmp_path_factory.mktemp("home")
    accelerate = ("accelerate.commands.launch", "--num_processes", "1", "--num_machines", "1", "--dynamo_backend", "no")
    pinned = (*accelerate, "--mixed_precision", "no", "--cpu", "-m")
    teacher = ["--config", str(DIGITS / "teacher.yaml"), "--run_dir", "teacher", "--epochs", "3"]
    run(*pinned, "train.teacher", *teacher, cwd=home)
    student = ["--config", str(DIGITS / "distill.yaml"), "--run_dir", "student", "--epochs", "2"]
    tracked = ["--track.wandb", "offline", "--track.every", "10", "--track.pictures", "false"]
    run("train.distill", *student, *tracked, "--teacher", "teacher/model.safetensors", cwd=home)
    return home


def test_the_run_folder_explains_itself(home: Path) -> None:
    for name in ("teacher", "student"):
        held = {path.name for path in (home / name).iterdir()}
        files = {"config.yaml", "environment.json", "metrics.jsonl", "checkpoints", "model.safetensors", "result.json"}
        assert files | {"done"} <= held
        result = json.loads((home / name / "result.json").read_text())
        assert result.keys() >= RESULT_KEYS
        assert result["accuracy_split"] == "test"
        assert result["accuracy_samples"] == 359
    environment = json.loads((home / "teacher" / "environment.json").read_text())
    assert environment["packages"]["torch"]
    assert environment["command"][0].endswith(Path(sys.executable).name)
    assert "-m" in environment["command"] and environment["command"][-6:] == [
        *("--config", str(DIGITS / "teacher.yaml"), "--run_dir", "teacher", "--epochs", "3")
    ]


def test_each_command_can_be_called_from_a_notebook(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process: each main takes its words, and the run folder has them as a command line."""
    monkeypatch.chdir(home)
    words = [
        "--config",
        str(DIGITS / "teacher.yaml"),
        "--run_dir",
        "called",
        "--epochs",
        "1",
        "--track.pictures",
        "false",
    ]
    main_of("train.teacher")(words)
    environment = json.loads(Path("called/environment.json").read_text())
    assert environment["command"] == ["python", "-m", "train.teacher", *words]
    main_of("train.evaluate.__main__")(["--run_dir", "called", "--output", "scores.json"])
    assert json.loads(Path("scores.json").read_text())["split"] == "test"
    main_of("train.predict.__main__")(["--run_dir", "called", "--split", "test", "--output", "called.csv"])
    assert len(Path("called.csv").read_text().splitlines()) == 1 + 359
    capsys.readouterr()
    main_of("train.table")(["called", "teacher"])
    assert "resnet_small" in capsys.readouterr().out


def main_of(module: str) -> Callable[[list[str]], None]:
    main: Callable[[list[str]], None] = importlib.import_module(module).main
    return main


def test_the_teacher_has_learnt_and_the_student_knows_its_teacher(home: Path) -> None:
    teacher = json.loads((home / "teacher" / "result.json").read_text())
    assert teacher["accuracy"] > 0.5  # chance is 0.1
    lines = [json.loads(line) for line in (home / "student" / "metrics.jsonl").read_text().splitlines()]
    assert {"step/ce", "step/kd", "step/loss", "step/lr"} <= lines[0].keys()
    assert {"train/ce", "train/kd", "train/agreement", "validation/agreement", "validation/loss"} <= lines[-1].keys()
    student = json.loads((home / "student" / "result.json").read_text())
    assert student["teacher"] == "teacher/model.safetensors"


def test_the_saved_config_is_a_config(home: Path) -> None:
    printed = run("train.distill", "--config", str(home / "student" / "config.yaml"), "--print_config").stdout
    assert yaml.safe_load(printed) == yaml.safe_load((home / "student" / "config.yaml").read_text())


def test_evaluate(home: Path) -> None:
    """With the training config, and with nothing but the run folder."""
    told = run("train.evaluate", "--config", str(DIGITS / "distill.yaml"), "--run_dir", "student",
               "--teacher", "teacher/model.safetensors", cwd=home)  # fmt: skip
    assert "top-1" in told.stdout
    assert "agrees with the teacher" in told.stdout
    sheet = json.loads((home / "student" / "evaluation-test.json").read_text())
    result = json.loads((home / "student" / "result.json").read_text())
    assert sheet["accuracy"] == result["accuracy"]
    assert sum(sum(row) for row in sheet["confusion"]) == 359
    again = run("train.evaluate", "--run_dir", "student", "--split", "validation", cwd=home)
    assert "145 images" in again.stdout
    sheet = json.loads((home / "student" / "evaluation-validation.json").read_text())
    assert sheet["accuracy"] == result["validation_accuracy"]


@pytest.fixture(scope="module")
def photographs(home: Path) -> Path:
    samples = source.load(DataSpec(source="digits", image_size=(16, 16), mean=(0.3,), std=(0.4,)), "test")
    folder = home / "photographs"
    folder.mkdir()
    for i in range(30):
        Image.fromarray(samples.read(i, channels=1)[:, :, 0]).save(folder / f"{i:04d}.png")
    return folder


def test_predict_a_folder(home: Path, photographs: Path) -> None:
    run("train.predict", "--run_dir", "teacher", "--images", str(photographs), "--output", "out.csv", cwd=home)
    rows = list(csv.reader((home / "out.csv").open()))
    assert rows[0] == ["Id", "Category"]
    assert [row[0] for row in rows[1:]] == [f"{i:04d}" for i in range(30)]
    spec = DataSpec(source="digits", image_size=(16, 16), mean=(0.3,), std=(0.4,))
    labels = source.load(spec, "test").label_N[:30]
    right = sum(int(row[1]) == label for row, label in zip(rows[1:], labels, strict=True))
    accuracy = json.loads((home / "teacher" / "result.json").read_text())["accuracy"]
    assert right / 30 > accuracy - 0.25


def test_predict_one_image(home: Path, photographs: Path) -> None:
    shown = run("train.predict", "--run_dir", "teacher", "--images", str(photographs / "0003.png"), cwd=home).stdout
    assert len(re.findall(r"\d+\.\d %|\d+\.\d%", shown)) == 5


def test_digits_have_nothing_unlabelled(home: Path) -> None:
    refused = run("train.predict", "--run_dir", "teacher", cwd=home, expect=66)
    assert "--images" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("module", COMMANDS)
def test_help_and_config_errors_do_not_wait_for_torch(module: str, tmp_path: Path) -> None:
    (tmp_path / "typo.yaml").write_text("data:\n  sorce: digits\n")
    code = (
        "import runpy, sys\n"
        f"sys.argv = [{module!r}, *sys.argv[1:]]\n"
        f"try: runpy.run_module({module!r}, run_name='__main__', alter_sys=True)\n"
        "finally: assert not {'torch', 'timm', 'accelerate', 'cv2'} & set(sys.modules), 'a heavy import'\n"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr
    assert "--data.root" in shown.stdout
    wrong = [sys.executable, "-c", code, "--config", str(tmp_path / "typo.yaml")]
    refused = subprocess.run(wrong, cwd=ROOT, capture_output=True, text=True, check=False)
    assert refused.returncode == 64
    assert "typo.yaml, line 2: unknown key data.sorce; did you mean data.source?" in refused.stderr


@pytest.mark.parametrize(
    ("extra", "code", "message"),
    [
        (["--teacher", "gone.safetensors"], 66, "gone.safetensors"),
        (["--student.name", "resnet_smal"], 64, "resnet_small"),
        (["--micro_batch_size", "7"], 64, "must be a multiple of 7"),
        (["--distill.alpha", "1.5"], 64, "distill.alpha"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_a_user_gets_wrong_is_one_line_and_leaves_nothing_in_the_way(
    home: Path, tmp_path: Path, extra: list[str], code: int, message: str
) -> None:
    words = ["--config", str(DIGITS / "distill.yaml"), "--run_dir", str(tmp_path / "run")]
    words += ["--teacher", "teacher/model.safetensors"]
    refused = forked.run("train.distill", *words, *extra, cwd=home)
    assert refused.code == code and message in refused.stderr, refused.stderr
    assert "Traceback" not in refused.stderr
    assert not RunDir.at(str(tmp_path / "run")).started


def test_the_corrected_command_trains_in_the_same_folder(home: Path, tmp_path: Path) -> None:
    words = ["--config", str(DIGITS / "distill.yaml"), "--run_dir", str(tmp_path / "run"), "--epochs", "1"]
    words += ["--teacher", "teacher/model.safetensors"]
    assert forked.run("train.distill", *words, "--micro_batch_size", "7", cwd=home).code == 64
    corrected = forked.run("train.distill", *words, cwd=home)
    assert corrected.code == 0, corrected.stderr
    assert (tmp_path / "run" / "done").exists()


def test_wandb_offline_is_read_back(home: Path) -> None:
    folders = list((home / "student" / "wandb").glob("offline-run-*"))
    assert len(folders) == 1
    assert list(folders[0].glob("*.wandb"))
