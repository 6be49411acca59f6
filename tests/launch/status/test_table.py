"""The table, and the JSON object, of a sweep and its agents."""

from __future__ import annotations

import json

from launch.status import command
from run_folders import make, printed, sweep


def test_a_sweep_begins_with_its_best_and_shows_what_varies_and_what_waits(tmp_path, capsys):
    points = [{"optim.lr": lr, "seed": "1"} for lr in ("1e-3", "1e-2", "1e-1", "1.0")]
    first, second, third, _ = sweep(tmp_path / "s", *points)
    make(first, "done", {"validation_accuracy": 0.8})
    make(second, "done", {"validation_accuracy": 0.9})
    make(third, "failed", exit_code=65, reason="nan", validation_accuracy=0.99)
    found = command.look(tmp_path / "s", None)
    assert [run.overrides["optim.lr"] for run in found.rows] == ["1e-2", "1e-3", "1e-1", "1.0"]
    assert [run.state for run in found.rows] == ["done", "done", "failed", "waiting"]
    assert found.varied == ["optim.lr"]
    text = printed(capsys, tmp_path / "s")
    assert "4 runs: 2 done, 1 failed, 1 waiting" in text and "optim.lr" in text and "seed" not in text
    assert text.splitlines()[3].split()[:3] == ["id1", "done", "1e-2"]
    assert [run.path for run in command.look(tmp_path, "optim.lr").rows] == [first, second, third, _]


def test_everything_as_one_json_object(tmp_path, capsys):
    (first, second) = sweep(tmp_path, {"a.b": "1"}, {"a.b": "2"})
    make(first, "done", {})
    make(first / "cut-01", "done", {})
    found = json.loads(printed(capsys, tmp_path, "--json"))
    assert (found["counts"], found["varied"]) == ({"done": 1, "waiting": 1}, ["a.b"])
    assert [run["path"] for run in found["runs"]] == [str(first), str(second)]
    assert found["runs"][0]["stages"][0]["parameters"] == 5142
    assert found["runs"][1]["overrides"] == {"a.b": "2"}


def test_the_agents_of_a_sweep_are_shown_only_if_they_came_to_harm(tmp_path):
    make(tmp_path / "runs" / "a", "done", {})
    make(tmp_path / "agents" / "0", "done", kind="agent")
    make(tmp_path / "agents" / "1", "failed", kind="agent")
    assert [run.path.name for run in command.look(tmp_path, None).rows] == ["1", "a"]


def test_a_sweep_leads_with_validation_and_shows_test_only_when_asked(tmp_path, capsys):
    (first, second) = sweep(tmp_path, {"a.b": "1"}, {"a.b": "2"})
    for run in (first, second):
        make(run, "done", {"validation_accuracy": 0.8})
    headers = [
        printed(capsys, tmp_path, *words).splitlines()[1].split("  ") for words in ([], ["--test"], ["--sort", "test"])
    ]
    plain, asked, by_test = [[cell.strip() for cell in header if cell.strip()] for header in headers]
    assert plain[:4] == ["run", "state", "a.b", "validation %"] and "test %" not in plain
    assert asked[3:5] == by_test[3:5] == ["validation %", "test %"]


def test_runs_that_are_no_sweep_show_both(tmp_path, capsys):
    make(tmp_path / "a", "done", {})
    assert "validation %" in (text := printed(capsys, tmp_path)) and "test %" in text
