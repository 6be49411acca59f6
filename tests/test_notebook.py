"""The notebook from top to bottom on a toy tree: its Python cells, and its commands in processes of their own."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

import forked
import reference

pytestmark = pytest.mark.launcher
ROOT = Path(__file__).parents[1]
NOTEBOOK = json.loads((ROOT / "notebooks" / "food11.ipynb").read_text(encoding="utf-8"))
CODE = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


@pytest.fixture
def food(tmp_path):
    """Three classes as the course lays them out."""
    names = [f"{split}/{label}_{i}" for split in ("training", "validation") for label in range(3) for i in range(4)]
    for seed, name in enumerate([*names, *(f"evaluation/{i:04}" for i in range(5))]):
        path = tmp_path / "Food-11" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(reference.picture(70, 80, seed=seed)).save(path)
    return tmp_path / "Food-11"


def test_the_notebook_leads_from_the_data_set_to_the_submission(food, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEARTCUT_CACHE", str(tmp_path / "cache"))
    names: dict[str, object] = {}
    exec(CODE[0], names)
    small = {"TEACHER_EPOCHS": 1, "EPOCHS": 1, "SIZE": 32, "BATCH": 4}
    places = {"DATA": str(food), "CONFIGS": str(ROOT / "configs" / "food11"), "RUNS": "runs"}
    assert set(small | places) <= set(names), "the first cell has all parameters"
    names |= small | places
    for cell in CODE[1:]:
        if cell.startswith("!"):
            _command(cell, names, tmp_path)
        else:
            exec(cell, names)
    rows = (tmp_path / "submission.csv").read_text().splitlines()
    assert rows[0] == "Id,Category" and [row.partition(",")[0] for row in rows[1:]] == [f"{i:04}" for i in range(5)]
    assert sorted(path.name for path in food.iterdir()) == ["evaluation", "training", "validation"]


def _command(cell: str, names: dict[str, object], cwd: Path) -> None:
    """A line for the shell, with names in braces as Jupyter replaces them."""
    line = re.sub(r"\{(\w+)\}", lambda match: str(names[match[1]]), cell[1:].replace("\\\n", ""))
    assert "\n" not in line
    python, dash, module, *words = shlex.split(line)
    assert (python, dash) == ("python", "-m")
    ended = forked.run(module, *words, prelude="import os; os.environ['COLUMNS'] = '120'", cwd=cwd)
    assert ended.code == 0, f"{line}\n{ended.stderr}"


def test_no_output_is_committed():
    cells = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    assert NOTEBOOK["nbformat"] == 4 and len({cell["id"] for cell in NOTEBOOK["cells"]}) == len(NOTEBOOK["cells"])
