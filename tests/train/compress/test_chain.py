"""All stages by one command: a run that is killed anywhere ends as if it had not been, and a finished one is left."""

from __future__ import annotations

import importlib.util
import json
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

import forked
from configs import reader
from configs.errors import InputError, UsageError
from models import artefact
from train.compress import chain
from train.compress.config import CompressConfig
from train.run_folder import readings

DIGITS = Path(__file__).parents[3] / "configs" / "digits" / "compress.yaml"
STAGES = ("teacher_training", "student", "cut")
SMALL = ["--data.image_size", "[8, 8]", "--data.augment.rotation", "0", "--data.threads", "1"]
SMALL += ["--track.pictures", "false"]
SMALL += ["--teacher_training.model.widths", "[4, 8, 8]", "--student.model.widths", "[2, 4, 8]"]
SMALL += ["--cut.final_epochs", "2", "--cut.recalibration", "2"]
SMALL += ["--cut.prune.steps", "2", "--cut.prune.budget.parameters", "500"]
for stage in STAGES:
    SMALL += [f"--{stage}.epochs", "1", f"--{stage}.batch_size", "256", f"--{stage}.optim.warmup_epochs", "0"]
PLAIN = ["--onnx", "false"]
ONE = [*PLAIN, "--cut.prune.steps", "1"]


def words(folder: str, *options: str) -> list[str]:
    return ["--config", str(DIGITS), "--run_dir", folder, *SMALL, *options]


def read(folder: Path, *options: str) -> CompressConfig:
    return reader.read(CompressConfig, words(str(folder), *options), prog="x", description="x")


def start(folder: Path, *options: str, prelude: str = "", processes: int = 1) -> list[forked.Ended]:
    """From the folder above, since paths of teachers are part of what is compared."""
    argv = words(folder.name, *options)
    return forked.run_world(processes, "train.compress", *argv, prelude=prelude, cwd=folder.parent)


def compress(folder: Path, *options: str, prelude: str = "", processes: int = 1) -> forked.Ended:
    ended = start(folder, *options, prelude=prelude, processes=processes)
    assert [process.code for process in ended] == [0] * processes, ended[0].stderr[-3000:]
    assert not any(process.stdout for process in ended[1:])  # one of them speaks
    return ended[0]


def parsed(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupts, ONNX file and all; latency, which is not what is tested, is measured twice."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    ended = compress(folder, prelude="from train.compress import chain; chain.ROUNDS = 2")
    (folder.parent / "log").write_text(ended.stderr)
    return folder


@pytest.mark.launcher
def test_the_log_begins_with_the_plan_and_says_nothing_twice(whole: Path) -> None:
    told = [line.split("  ", 1)[-1] for line in (whole.parent / "log").read_text().splitlines()]
    assert [line[:6] for line in told[:4]] == [f"{number} of 4" for number in (1, 2, 3, 4)]
    for start in ("data: 10 classes", "executor: ", "teacher: 1", "test accuracy"):
        assert len([line for line in told if line.startswith(start)]) <= 1, start
    epochs = [line for line in told if line.startswith("epoch ")]
    assert len(epochs) == 5 and all(
        re.match(r"epoch \d/\d  loss \d+\.\d{4}  train [\d.]+ %  validation [\d.]+ %", line) for line in epochs
    )
    assert not [line for line in told if "scheduler" in line]


@pytest.mark.launcher
def test_every_stage_has_its_folder_and_the_run_what_came_of_it(whole: Path) -> None:
    assert {path.name for path in whole.iterdir()} == {
        "teacher", "student", "cut", "config.yaml", "environment.json", "model.safetensors", "model.onnx",
        "evaluation-test.json", "export.json", "result.json", "status.json", "lock", "done", "test_reads.jsonl",
    }  # fmt: skip
    for stage in ("teacher", "student", "cut"):
        assert (whole / stage / "done").exists() and (whole / stage / "model.safetensors").exists()
    assert (whole / "model.safetensors").read_bytes() == (whole / "cut" / "model.safetensors").read_bytes()
    card = artefact.read_card(whole / "model.safetensors")
    assert card.pruned and 450 < card.cost.parameters <= 500
    assert card.lineage["teacher_sha256"] == artefact.sha256(whole / "teacher" / "model.safetensors")

    result, cut = parsed(whole / "result.json"), parsed(whole / "cut" / "result.json")
    assert (cut.pop("test_reads"), result.pop("test_reads")) == (1, 2)  # after the last cut, and by train.evaluate
    assert readings.read(whole).networks == 1 and readings.read(whole / "student").number == 1
    assert result == cut and (result["cuts"], result["epochs"]) == (2, 1 + 2)
    evaluation = parsed(whole / "evaluation-test.json")
    assert evaluation["accuracy"] == result["accuracy"] and evaluation["samples"] == result["accuracy_samples"] == 359
    assert evaluation["teacher"] == "run/teacher/model.safetensors"
    assert 0 <= evaluation["teacher_agreement"] <= 1


@pytest.mark.launcher
def test_the_onnx_file_is_that_of_the_last_cut_beside_the_teacher(whole: Path) -> None:
    import onnxruntime
    import torch

    report = parsed(whole / "export.json")
    exported, against = report["networks"]["exported"], report["networks"]["against"]
    assert exported["sha256"] == artefact.sha256(whole / "model.safetensors")
    assert against["sha256"] == artefact.sha256(whole / "teacher" / "model.safetensors")
    assert report["parity"]["relative"] <= report["parity"]["tolerance"]
    assert exported["onnx_bytes"] == (whole / "model.onnx").stat().st_size
    session = onnxruntime.InferenceSession(whole / "model.onnx", providers=["CPUExecutionProvider"])
    image_BCHW = np.random.default_rng(0).standard_normal((3, 1, 8, 8)).astype(np.float32)
    (found_BK,) = session.run(None, {session.get_inputs()[0].name: image_BCHW})
    with torch.no_grad():
        logits_BK = artefact.load(whole / "model.safetensors")[0](torch.from_numpy(image_BCHW)).numpy()
    np.testing.assert_allclose(found_BK, logits_BK, rtol=0, atol=1e-4 * np.abs(logits_BK).max())


@pytest.mark.launcher
def test_a_finished_run_is_left_as_it_is(whole: Path) -> None:
    times = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    again = compress(whole, prelude="from train.stage import run; run.assemble = None")  # nothing to train with
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == times
    assert "epoch 1" not in again.stderr and "Everything is in" in again.stdout


@pytest.mark.launcher
def test_another_config_in_the_same_folder_is_refused(whole: Path) -> None:
    (ended,) = start(whole, "--cut.prune.budget.parameters", "400")
    assert ended.code == 66 and "cut.prune.budget.parameters was 500, is now 400" in ended.stderr


@pytest.mark.launcher
def test_the_folder_is_a_run_for_evaluate_and_predict(whole: Path, tmp_path: Path) -> None:
    held = {name: (whole / name).read_bytes() for name in ("model.safetensors", "evaluation-test.json")}
    evaluated = forked.run("train.evaluate", "--run_dir", str(whole))
    assert evaluated.code == 0, evaluated.stderr
    again = parsed(whole / "evaluation-test.json")
    before = json.loads(held["evaluation-test.json"])
    assert all(again[key] == before[key] for key in before if not key.startswith("teacher"))
    (whole / "evaluation-test.json").write_bytes(held["evaluation-test.json"])
    for number in range(3):
        Image.fromarray(np.full((8, 8), 80 * number, np.uint8)).save(tmp_path / f"{number}.png")
    output = tmp_path / "out.csv"
    options = ["--run_dir", str(whole), "--images", str(tmp_path), "--output", str(output)]
    predicted = forked.run("train.predict", *options)
    assert predicted.code == 0, predicted.stderr
    header, *rows = output.read_text().splitlines()
    assert header == "Id,Category" and [row.split(",")[0] for row in rows] == ["0", "1", "2"]


# ---- killed

COUNTED = """
from train.compress import chain
def counted(folder, teacher, device):
    print("exported", teacher)
    (folder.path / "model.onnx").write_bytes(b"")
chain._export = counted
"""
PLACES = [
    ("in the teacher's training", "train.step:Step.__call__", 5, "teacher/config.yaml", "teacher/checkpoints"),
    ("after the teacher", "train.stage.outcome:write_atomically", 1, "teacher/result.json", "teacher/done"),
    ("after the student", "train.prune.chain:Chain.run", 1, "student/done", "cut/cut-01"),
    ("in the chain", "train.step:Step.__call__", 9, "cut/cut-01/done", "cut/cut-02/done"),
    ("before the evaluation", "train.evaluate.score_sheet:carry_out", 1, "cut/done", "evaluation-test.json"),
    ("before the export", "train.compress.chain:_export", 1, "evaluation-test.json", "export.json"),
    ("before the marker", "train.compress.chain:write_json", 1, "model.onnx", "done"),
]


@pytest.mark.launcher
def test_killed_in_every_stage_in_turn_it_ends_with_the_same_bytes(whole: Path, tmp_path: Path) -> None:
    """One run, killed seven times: each start goes on where the one before was stopped, and leaves what is finished."""
    folder = tmp_path / "run"
    finished: dict[Path, int] = {}
    for why, place, nth, there, not_there in PLACES:
        (ended,) = start(folder, prelude=COUNTED + forked.killed_at(place, nth))
        assert ended.code == -signal.SIGKILL, f"{why}: {ended.stderr[-3000:]}"
        assert (folder / there).exists() and not (folder / not_there).exists(), why
        finished = {marker.with_name("model.safetensors"): 0 for marker in folder.glob("*/**/done")} | finished
        finished = {path: time or path.stat().st_mtime_ns for path, time in finished.items()}
    assert "exported" in compress(folder, prelude=COUNTED).stdout
    assert len(finished) == 5 and {path: path.stat().st_mtime_ns for path in finished} == finished
    for name in ("teacher/model.safetensors", "student/model.safetensors", "cut/ledger.json", "model.safetensors"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    mine, theirs = (parsed(run / "result.json") for run in (folder, whole))
    assert {key for key in theirs if mine[key] != theirs[key]} <= {"seconds", "images_per_second", "test_reads"}
    assert (
        mine["test_reads"] == 4 and readings.read(folder).networks == 1
    )  # the evaluation was killed twice after its end


# ---- variants


@pytest.mark.launcher
def test_a_teacher_that_is_there_gives_the_same_student(whole: Path, tmp_path: Path) -> None:
    """And, as the control of every comparison of bytes, another teacher gives another one."""
    for name, stage in (("run", "teacher"), ("other", "student")):
        teacher = ["--teacher", str(whole / stage / "model.safetensors"), "--teacher_training", "null"]
        done = compress(tmp_path / name, *ONE, *teacher)
        assert not (tmp_path / name / "teacher").exists()
        assert not list((tmp_path / name).glob("*.onnx")) and not (tmp_path / name / "export.json").exists()
        assert "model.onnx" not in done.stdout and (tmp_path / name / "done").exists()
    first, same, other = (weights(folder / "student") for folder in (whole, tmp_path / "run", tmp_path / "other"))
    assert first == same != other  # the cards differ in any case: a teacher is recorded with its path


def weights(run: Path) -> dict[str, list[Any]]:
    net = artefact.load(run / "model.safetensors")[0]
    return {name: value.tolist() for name, value in net.state_dict().items()}


@pytest.mark.launcher
@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--teacher", "no.safetensors", "--teacher_training", "null"], 66, "there is no file no.safetensors"),
        (["--teacher", "t.safetensors"], 64, "teacher is 't.safetensors'; it must be a file of weights where"),
        (["--teacher_training", "null"], 64, "teacher is None; it must be a file of weights where there is no"),
    ],
    ids=["missing", "both", "none"],
)
def test_a_teacher_that_cannot_be_is_refused_before_anything_is_trained(
    tmp_path: Path, options: list[str], code: int, message: str
) -> None:
    (ended,) = start(tmp_path / "run", *options)
    assert ended.code == code and message in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert not [path for path in (tmp_path / "run").glob("*") if path.is_dir()]  # no stage has begun


@pytest.mark.parametrize("missing", chain.EXTRA)
def test_without_the_extra_nothing_is_trained_for_an_onnx_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == missing else real(name, *rest))
    message = rf"onnx is true, but {missing} not installed: pip install {missing}"
    with pytest.raises(UsageError, match=message):
        chain.run(read(tmp_path / "run"))
    assert re.match(message, parsed(tmp_path / "run" / "status.json")["reason"])
    assert not [path for path in (tmp_path / "run").iterdir() if path.is_dir()]  # no stage has begun
    teacher = ["--teacher", str(tmp_path / "no.safetensors"), "--teacher_training", "null"]
    with pytest.raises(InputError, match="there is no file"):  # the control: without ONNX it goes on to the teacher
        chain.run(read(tmp_path / "run", *PLAIN, *teacher))


def test_a_readme_of_somebody_else_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# notes\n")
    with pytest.raises(InputError, match=r"README\.md is there already and is no model card"):
        chain.run(read(tmp_path, *PLAIN, "--card", "true"))
    assert parsed(tmp_path / "status.json")["exit_code"] == 66


@pytest.mark.launcher
def test_two_processes_carry_out_all_stages(tmp_path: Path) -> None:
    """And a stage's own augmentation reaches that stage alone."""
    folder = tmp_path / "run"
    own = ["--student.augment.horizontal_flip", "0.5"]
    compress(folder, *ONE, *own, processes=2)
    assert parsed(folder / "result.json")["processes"] == 2 and (folder / "done").exists()
    assert parsed(folder / "evaluation-test.json")["samples"] == 359
    stages = ("teacher", "student", "cut")
    configs = {stage: yaml.safe_load((folder / stage / "config.yaml").read_text()) for stage in stages}
    flips = {name: config["data"]["augment"]["horizontal_flip"] for name, config in configs.items()}
    assert flips == {"teacher": 0, "student": 0.5, "cut": 0}
    assert configs["cut"]["data"]["augment"]["crop_padding"] == 1
    last = yaml.safe_load((folder / "cut" / "cut-01" / "config.yaml").read_text())
    assert last["data"] == configs["cut"]["data"]


# ---- what was once found out only at the end


@pytest.mark.launcher
def test_a_budget_that_cannot_be_had_is_refused_before_the_teacher_is_trained(tmp_path: Path) -> None:
    ended = start(tmp_path / "run", *PLAIN, "--cut.prune.budget.parameters", "10", processes=2)
    assert [process.code for process in ended] == [64, 64]
    assert all("the smallest that can be reached is" in process.stderr for process in ended)
    assert not (tmp_path / "run" / "teacher").exists()


NOT_EXPORTED = """
from configs.errors import InputError
from models.export import side_by_side
def run(*_, **__):
    raise InputError("no such operator")
side_by_side.run = run
"""


@pytest.mark.launcher
def test_a_network_that_cannot_be_exported_ends_without_and_test_is_left_alone_to_the_end(tmp_path: Path) -> None:
    small = ["--cut.prune.steps", "1", "--test", "false"]
    (ended,) = start(tmp_path / "run", *small, prelude=NOT_EXPORTED)
    assert ended.code == 66 and "no such operator. All is trained; the same command with --onnx false" in ended.stderr
    assert not (tmp_path / "run" / "README.md").exists()
    without = ["--onnx", "false", "--card", "true"]
    done = compress(tmp_path / "run", *small, *without, prelude="from train import loop; loop.Loop.fit = None")
    score = artefact.read_card(tmp_path / "run" / "model.safetensors").scores["validation"]
    text = (tmp_path / "run" / "README.md").read_text()
    assert f"| {score.correct:,} | {score.total:,} |" in text and "digits" in text
    assert "model.safetensors, README.md." in done.stdout
    assert [path.name for path in (tmp_path / "run").glob("evaluation-*.json")] == ["evaluation-validation.json"]
