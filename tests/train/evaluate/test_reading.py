"""train.evaluate counts readings of test in the folder of the run whose network it measures, on real digits."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from configs import reader
from digit_runs import teach
from train.evaluate import score_sheet
from train.evaluate.config import EvaluateConfig
from train.run_folder import readings
from train.run_folder.own_config import with_own_config

SMALL = ["--data.image_size", "[8, 8]", "--epochs", "1", "--batch_size", "256"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "teacher"
    assert teach(folder, *SMALL)["test_reads"] == 1
    return folder


def evaluate(capsys, *words: object) -> list[str]:
    """Evaluate; what was logged of readings, without the time of day."""
    own = with_own_config([str(word) for word in words])
    score_sheet.score(reader.read(EvaluateConfig, own, prog="x", description="x", other_sections=True))
    lines = capsys.readouterr().err.splitlines()
    return [line.partition("  ")[2] for line in lines if "has been read" in line]


def test_the_same_weights_are_said_and_others_warned_of(run: Path, tmp_path: Path, capsys) -> None:
    own = tmp_path / "run"
    shutil.copytree(run, own)
    assert evaluate(capsys, "--run_dir", own, "--split", "validation") == []
    (told,) = evaluate(capsys, "--run_dir", own)
    assert told == f"{own}: the test split has been read 2 times, always for the same weights"

    teach(own, *SMALL[:2], "--epochs", "2", "--batch_size", "256", "--extend", "true")
    found = readings.read(own).of_run
    assert (found.number, found.networks) == (3, 2)
    assert [one.command for one in found.readings] == ["train.teacher", "train.evaluate", "train.teacher"]
    (told,) = evaluate(capsys, "--run_dir", own)
    assert "4 times, for 2 different networks; choose settings on validation" in told


def test_weights_that_are_named_count_for_their_run_and_copies_for_none(run: Path, tmp_path: Path, capsys) -> None:
    own, copy = tmp_path / "run", tmp_path / "copy.safetensors"
    shutil.copytree(run, own)
    shutil.copyfile(own / "model.safetensors", copy)
    digits = ["--data.source", "digits", "--data.mean", "0.5", "--data.std", "0.5", "--data.image_size", "8"]
    for weights in (own / "model.safetensors", copy):
        evaluate(capsys, "--weights", weights, *digits, "--output", tmp_path / "o.json")
    found = readings.read(own)
    assert (found.number, found.networks) == (2, 1) and not (tmp_path / readings.NAME).exists()
