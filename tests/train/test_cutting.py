"""Chains of cuts on real digits: the budget is met, and a chain that is killed anywhere ends as if it had not been."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from configs import reader
from configs.errors import InputError, UsageError
from models import artefact
from train import cutting, guards, outcome
from train.chain_config import PruneConfig
from train.config import DistillConfig, TeacherConfig

DIGITS = Path(__file__).parents[2] / "configs" / "digits"
ROOT = Path(__file__).parents[2]
TINY = [
    "--data.threads",
    "1",
    "--data.image_size",
    "[8, 8]",
    "--data.augment.rotation",
    "0",
    "--optim.warmup_epochs",
    "0",
]
FEW = ["--epochs", "1", "--prune.steps", "2", "--prune.budget.parameters", "500", "--recalibration", "2", *TINY]
EMA = ["--ema", "0.9"]


def words(folder: Path, trained: Path, *options: str) -> list[str]:
    names = ["--student.name", str(trained / "student" / "model.safetensors"), "--run_dir", str(folder)]
    names += ["--teacher", str(trained / "teacher" / "model.safetensors")]
    return ["--config", str(DIGITS / "prune.yaml"), *names, *FEW, *EMA, *options]


def read(folder: Path, trained: Path, *options: str) -> PruneConfig:
    return reader.read(PruneConfig, words(folder, trained, *options), prog="x", description="x")


def prune(folder: Path, trained: Path, *options: str) -> list[dict]:
    cutting.run(read(folder, trained, *options))
    return json.loads((folder / "ledger.json").read_text())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher and a student that have seen the digits twice."""
    folder = tmp_path_factory.mktemp("trained")
    shape = ["--model.depth", "8", "--model.widths", "[4, 8, 8]", "--epochs", "2"]
    teacher = ["--config", str(DIGITS / "teacher.yaml"), "--run_dir", str(folder / "teacher"), *shape, *TINY]
    outcome.run(reader.read(TeacherConfig, teacher, prog="x", description="x"), "teacher")
    student = ["--config", str(DIGITS / "distill.yaml"), "--run_dir", str(folder / "student"), "--epochs", "2", *TINY]
    student += ["--teacher", str(folder / "teacher" / "model.safetensors"), "--student.widths", "[2, 4, 8]"]
    outcome.run(reader.read(DistillConfig, student, prog="x", description="x"), "distill")
    return folder


def test_the_budget_is_met_and_every_cut_is_in_the_ledger(trained: Path, tmp_path: Path) -> None:
    entries = prune(tmp_path, trained)
    net, card = artefact.load(tmp_path / "model.safetensors")
    assert [entry["cut"] for entry in entries] == [1, 2]
    assert entries[0]["parameters"] > entries[1]["parameters"] == card.cost.parameters <= 500
    assert card.cost.parameters == sum(p.numel() for p in net.parameters()) > 0.9 * 500
    assert card.pruned and len(card.classes) == 10
    assert entries[1]["sha256"] == artefact.sha256(tmp_path / "model.safetensors")
    assert all(0 <= entry[key] <= 1 for entry in entries for key in ("before", "after"))
    assert (tmp_path / "ledger.png").stat().st_size > 1000
    first, second = (json.loads((tmp_path / f"cut-0{i}" / "result.json").read_text()) for i in (1, 2))
    assert first["accuracy_split"] == "validation" and second["accuracy_split"] == "test"  # read once, at the end
    # Again: nothing is done again.
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    cutting.run(read(tmp_path, trained))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == times


@pytest.mark.parametrize("importance", ["l1", "bn_scale", "taylor", "random"])
def test_other_importances_reach_it_too(trained: Path, tmp_path: Path, importance: str) -> None:
    entries = prune(tmp_path, trained, "--prune.importance", importance, "--prune.steps", "1")
    assert 0.9 * 500 < entries[-1]["parameters"] <= 500


def test_hints_keep_their_adapters(trained: Path, tmp_path: Path) -> None:
    pairs = "[[layer2, layer2], [layer3, layer3]]"
    entries = prune(tmp_path, trained, "--distill.hint", "1", "--distill.layers", pairs)
    assert entries[-1]["parameters"] <= 500
    assert (tmp_path / "cut-02" / "checkpoints").is_dir()


def test_a_dry_run_prints_the_cuts_and_writes_nothing(trained: Path, tmp_path: Path, capsys) -> None:
    cutting.run(read(tmp_path / "run", trained, "--dry_run", "true"))
    shown = capsys.readouterr().out
    assert "of the budget" in shown and "layer3.0.conv2" in shown
    assert not (tmp_path / "run").exists()


def test_temperature_alpha_and_rate_move_from_cut_to_cut(trained: Path, tmp_path: Path) -> None:
    finals = ["--final_temperature", "8", "--final_alpha", "0.9", "--final_lr", "5e-5", "--final_epochs", "7"]
    config = read(tmp_path, trained, *finals, "--prune.steps", "3")
    steps = [config.after_cut(i, run_dir="r", student="s.safetensors") for i in (1, 2, 3)]
    assert [step.distill.temperature for step in steps] == [2, 5, 8]
    assert [round(step.distill.alpha, 9) for step in steps] == [0.5, 0.7, 0.9]
    assert [round(step.optim.lr, 9) for step in steps] == [5e-3, 5e-4, 5e-5]
    assert [step.epochs for step in steps] == [1, 1, 7]
    assert [step.test for step in steps] == [False, False, True]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--prune.budget.parameters", "99999"], "budget.parameters"),
        (["--prune.budget.parameters", "20"], r"\d"),
        (["--prune.ignored_layers", "[no_such_layer]"], "no_such_layer"),
    ],
)
def test_what_cannot_be_cut_is_refused_with_the_reason(trained: Path, tmp_path: Path, options, message) -> None:
    with pytest.raises((UsageError, InputError), match=message):
        cutting.run(read(tmp_path, trained, *options))
    assert not list(tmp_path.glob("cut-*/cut.json"))


def test_a_student_must_be_a_trained_file(tmp_path: Path) -> None:
    own = ["--config", str(DIGITS / "prune.yaml"), "--student.name", "resnet_small"]
    with pytest.raises(UsageError, match=r"student\.name is 'resnet_small'; it must be the .safetensors file"):
        reader.read(PruneConfig, own, prog="x", description="x")


def test_processes_must_hold_one_architecture() -> None:
    guards.require_one_architecture(["a", "a", "a"])
    with pytest.raises(InputError, match="processes 1 hold another architecture"):
        guards.require_one_architecture(["a", "b", "a"])


# ---- killed at every named point

KILLED = """
import os, signal, sys
import train.cutting, train.ledger, train.outcome
from models import artefact, planner
from train import state
place, nth = sys.argv[1], int(sys.argv[2])
owner, name = {
    "before a cut": (planner, "plan_cut"),
    "cut, not written": (train.cutting.artefact, "save"),
    "written, no momentum": (train.cutting, "carry_over"),
    "no marker": (train.cutting, "write_atomically"),
    "in training": (state.TrainState, "save"),
    "trained, not in the ledger": (train.ledger, "write"),
}[place]
real, calls = getattr(owner, name), []
def deadly(*a, **k):
    calls.append(1)
    if len(calls) == nth:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*a, **k)
setattr(owner, name, deadly)
sys.argv = ["train.prune", *sys.argv[3:]]
from train import prune
prune.main()
"""


def start(*argv: str) -> int:
    command = [sys.executable, *argv]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, check=False, capture_output=True, env=environment, cwd=ROOT).returncode


@pytest.fixture(scope="module")
def whole(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert start("-m", "train.prune", *words(folder, trained)) == 0
    return artefact.sha256(folder / "model.safetensors")


@pytest.mark.launcher
@pytest.mark.parametrize(
    ("place", "nth"),
    [
        ("before a cut", 2),
        ("cut, not written", 3),  # cut, trained, cut
        ("written, no momentum", 1),
        ("no marker", 2),
        ("in training", 2),
        ("trained, not in the ledger", 1),
    ],
)
def test_killed_anywhere_it_ends_with_the_same_bytes(whole: str, trained: Path, tmp_path: Path, place, nth) -> None:
    folder = tmp_path / "run"
    assert start("-c", KILLED, place, str(nth), *words(folder, trained)) == -signal.SIGKILL
    assert not (folder / "done").exists()
    assert start("-m", "train.prune", *words(folder, trained)) == 0
    assert artefact.sha256(folder / "model.safetensors") == whole


@pytest.mark.launcher
def test_without_the_momentum_that_was_cut_along_the_bytes_differ(whole: str, trained: Path, tmp_path: Path) -> None:
    """The control: what a cut hands on matters, and the comparison above would notice."""
    folder = tmp_path / "run"
    assert start("-c", KILLED, "in training", "2", *words(folder, trained)) == -signal.SIGKILL
    shutil.rmtree(folder / "cut-02" / "checkpoints")
    assert start("-m", "train.prune", *words(folder, trained)) == 0
    assert artefact.sha256(folder / "model.safetensors") != whole


@pytest.mark.launcher
def test_two_processes_cut_alike(trained: Path, tmp_path: Path) -> None:
    """By taylor, whose scores come from the images of both; each process checks the other's architecture."""
    folder = tmp_path / "run"
    launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", "0"]
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "-m", "train.prune"]
    assert start(*launch, *words(folder, trained, "--prune.importance", "taylor")) == 0
    result = json.loads((folder / "result.json").read_text())
    assert result["processes"] == 2 and result["cuts"] == 2 and 0.9 * 500 < result["parameters"] <= 500
