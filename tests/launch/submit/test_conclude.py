"""The last run of a folder writes result.json; the runs before it write nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import run_folders
from configs.errors import InputError
from launch.submit import command, conclude

WORDS = ["--cluster", "cluster.yaml", "--folder", "sweep", "--seeds", "2", "train.distill", "--config", "distill.yaml"]


@pytest.fixture
def runs(site):
    """Folders of two runs that are submitted."""
    command.main(WORDS)
    return [site.sweep.run_dir(run.id) for run in site.sweep.load().runs]


def end(run: Path, seed: int) -> None:
    run_folders.make(run, "done", {"seed": seed, "accuracy": 0.9})


def test_the_last_of_the_runs_writes_it(runs, capsys):
    end(runs[0], 0)
    conclude.main(["sweep"])
    assert not Path("sweep/result.json").exists()
    end(runs[1], 1)
    capsys.readouterr()
    conclude.main(["sweep"])
    (group,) = json.loads(Path("sweep/result.json").read_text())["groups"]
    text = capsys.readouterr().out
    assert group["n"] == 2 and "90.00 (90.00 to 90.00)" in text and "sweep/result.json has the figures" in text


def test_what_a_run_lacks_is_said_and_no_error(runs, capsys):
    for seed, run in enumerate(runs):
        end(run, seed)
    (runs[1] / "result.json").write_text("{")
    conclude.main(["sweep"])
    assert "sweep/result.json is not written: sweep/runs/" in capsys.readouterr().out
    assert not Path("sweep/result.json").exists()


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"is no folder of launch.submit: neither it nor main/ in it has a sweep.json"):
        conclude.main([str(tmp_path)])
    assert not (tmp_path / "result.json").exists()
