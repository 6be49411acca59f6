"""What a finished run has reached, with the runs that it started from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from configs.errors import InputError
from launch.submit import outcome
from run_folders import RESULT


def run(folder: Path, config: str = "", **result) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"seed: 3\ndata: {{source: digits, augment: {{rotation: 5}}}}\n{config}")
    (folder / "result.json").write_text(json.dumps(RESULT | result))
    return folder


def test_the_figures_of_a_run_are_its_own(tmp_path):
    found = outcome.read(run(tmp_path / "a", nonzero=2600, seed=2, epochs=5, seconds=7.5), "a")
    assert (found.run, found.seed, found.validation, found.test) == ("a", 2, 0.91, 0.9)
    assert (found.parameters, found.nonzero, found.epochs, found.seconds) == (5142, 2600, 5, 7.5)
    older = outcome.read(run(tmp_path / "b"), "b")  # before results had a seed and counted zeros
    assert (older.seed, older.nonzero) == (3, 5142)
    assert older.images == found.images


def test_validation_is_not_test(tmp_path):
    found = outcome.read(run(tmp_path / "a", accuracy_split="validation", accuracy=0.91), "a")
    assert found.test is None and found.images != outcome.read(run(tmp_path / "b"), "b").images


def test_images_are_the_data_without_augmentation(tmp_path):
    one, other = run(tmp_path / "a"), run(tmp_path / "b")
    (other / "config.yaml").write_text("data: {source: digits, augment: {rotation: 9}}\n")
    assert outcome.read(one, "a").images == outcome.read(other, "b").images
    (other / "config.yaml").write_text("data: {source: digits, split_seed: 1}\n")
    assert outcome.read(one, "a").images != outcome.read(other, "b").images


def test_epochs_are_those_of_all_trainings_that_made_the_network(tmp_path):
    first = run(tmp_path / "first", epochs=16, seconds=1.0)
    named = f"student: {{name: {first}/model.safetensors, from_scratch: %s}}\n"
    cut = run(tmp_path / "cut", named % "false", epochs=4, seconds=2.0)
    again = run(tmp_path / "again", f"model: {{name: {cut}/model.safetensors}}\n", epochs=2, seconds=4.0)
    anew = run(tmp_path / "anew", named % "true", epochs=9)
    assert [outcome.passes(folder) for folder in (first, cut, again, anew)] == [16, 20, 22, 9]
    assert outcome.read(again, "again").seconds == 7
    chain = run(tmp_path / "chain", "student: {}\ncut: {}\n", epochs=4)
    run(chain / "student", epochs=6)
    assert outcome.passes(chain) == 10


def test_short_epochs_count_by_their_share(tmp_path):
    student = run(tmp_path / "chain" / "student", epochs=10, passes=2.5)
    cut = run(tmp_path / "cut", f"student: {{name: {student}/model.safetensors}}\n", epochs=38, passes=15)
    assert outcome.passes(cut) == outcome.read(cut, "cut").epochs == 17.5


def test_a_file_that_no_run_made_adds_nothing(tmp_path):
    alone = run(tmp_path / "a", f"student: {{name: {tmp_path}/elsewhere.pth}}\n", epochs=4)
    itself = run(tmp_path / "b", f"student: {{name: {tmp_path}/b/model.safetensors}}\n", epochs=4)
    assert outcome.passes(alone) == outcome.passes(itself) == 4 and outcome.passes(tmp_path / "none") == 0


def test_a_damaged_result_is_named(tmp_path):
    folder = run(tmp_path / "a", accuracy="high")
    with pytest.raises(InputError, match=r"a/result\.json is damaged: accuracy is 'high'"):
        outcome.read(folder, "a")
