"""wandb.json: one id and one name for all attempts at a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.errors import InputError
from train.track.wandb_identity import NAME, Identity


def test_the_same_recipe_has_the_same_id_and_name_and_another_one_has_not(tmp_path: Path) -> None:
    first = Identity.read(tmp_path, "lr=1", "a")
    first.write(tmp_path)
    assert Identity.read(tmp_path, "other", "a") == first
    changed = Identity.read(tmp_path, "other", "b")
    assert changed.id != first.id and changed.name == "other"


def test_what_else_is_in_the_file_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('{"id": "x1", "name": "n", "recipe": "a", "pending": ["offline-run-1"]}')
    assert Identity.read(tmp_path, "other", "a") == Identity(id="x1", name="n", recipe="a")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"id": "x1"}'])
def test_a_damaged_file_is_named_with_the_way_out(tmp_path: Path, content: str) -> None:
    (tmp_path / NAME).write_text(content)
    with pytest.raises(InputError, match=r"wandb\.json is damaged: .*; delete it to go on as a new wandb run"):
        Identity.read(tmp_path, "n", "a")
