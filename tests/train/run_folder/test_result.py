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
