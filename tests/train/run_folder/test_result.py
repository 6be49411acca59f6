"""What a finished run has reached, read again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import run_folders
from configs.errors import InputError
from train.run_folder import result


def test_a_result_comes_back_with_all_that_it_says(tmp_path: Path) -> None:
    written = run_folders.RESULT | {"cuts": 3, "seconds": 10}
    (tmp_path / "result.json").write_text(json.dumps(written))
    assert result.read(tmp_path) == written | {"accuracy_interval_95": (0.8, 0.95)}


@pytest.mark.parametrize("field", result.FIELDS)
def test_every_field_that_is_read_is_checked(tmp_path: Path, field: str) -> None:
    for found, message in ((run_folders.RESULT | {field: {}}, f"{field} is {{}}"), ({}, "has no")):
        (tmp_path / "result.json").write_text(json.dumps(found))
        with pytest.raises(InputError, match=rf"result\.json is damaged: .*{message}"):
            result.read(tmp_path)


CONFIG = {"seed": 0, "data": {"root": "a", "augment": {"erase": 0.5}}}
REACHED = {"accuracy": 0.9, "accuracy_split": "test", "accuracy_samples": 10}


def test_runs_with_other_seeds_and_augmentation_were_measured_on_the_same_images() -> None:
    other = {"seed": 1, "data": {"root": "a", "augment": None}}
    assert result.measured_on(CONFIG, REACHED) == result.measured_on(other, REACHED | {"accuracy": 0.1})


@pytest.mark.parametrize(
    ("config", "reached"),
    [
        ({"data": {"root": "b"}}, REACHED),
        (CONFIG, REACHED | {"accuracy_split": "validation"}),
        (CONFIG, REACHED | {"accuracy_samples": 11}),
    ],
)
def test_other_data_another_split_and_another_size_are_other_images(
    config: dict[str, object], reached: dict[str, object]
) -> None:
    assert result.measured_on(CONFIG, REACHED) != result.measured_on(config, reached)
