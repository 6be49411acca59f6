"""metrics.jsonl is the record: one strict JSON object a line, cut back to the checkpoint on a restart."""

import json
import sys
from pathlib import Path

import pytest

from train.config import TrackSpec
from train.track import wandb_start
from train.track.tracker import Tracker


def strict(text: str) -> dict:
    """Parse as every other program does: NaN and Infinity are not JSON."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON: {text}")

    return json.loads(text, parse_constant=refuse)


def lines(path: Path) -> list[dict]:
    return [strict(line) for line in path.read_text().splitlines()]


def test_a_line_has_the_step_and_numbers_and_is_there_at_once(tmp_path):
    path = tmp_path / "metrics.jsonl"
    track = Tracker(path, resume_step=0)
    track.log(50, {"train/loss": 0.1 + 0.2, "epoch": 3})
    assert lines(path) == [{"train/step": 50, "train/loss": 0.1 + 0.2, "epoch": 3.0}]
    track.log(100, {"train/loss": 1e-30})
    assert lines(path)[1] == {"train/step": 100, "train/loss": 1e-30}
    track.close()
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_lines_after_the_checkpoint_and_a_torn_one_are_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    track = Tracker(path, resume_step=0)
    for step in (10, 20, 30, 40):
        track.log(step, {"x": step})
    track.close()
    with path.open("a") as file:
        file.write('{"train/step": 2')
    again = Tracker(path, resume_step=20)
    again.log(30, {"x": -1})
    again.close()
    assert [(line["train/step"], line["x"]) for line in lines(path)] == [(10, 10), (20, 20), (30, -1)]


@pytest.mark.parametrize("torn", ["", "{", '{"train/step": ', '{"x": 1}', "[1]", "null", "5", '{"train/step": null}'])
def test_whatever_a_kill_leaves_is_dropped_and_the_rest_is_kept(tmp_path, torn):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"train/step": 10, "x": 1.0}\n' + torn)
    again = Tracker(path, resume_step=1000)
    again.log(20, {"x": 2})
    again.close()
    assert [line["train/step"] for line in lines(path)] == [10, 20]


def test_started_afresh_nothing_of_the_old_run_is_left(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"train/step": 10, "x": 1.0}\n')
    Tracker(path, resume_step=0).close()
    assert path.read_text() == ""


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_not_finite_is_still_json(tmp_path, value):
    path = tmp_path / "metrics.jsonl"
    track = Tracker(path, resume_step=0)
    track.log(1, {"train/gradient_norm": value})
    track.close()
    assert lines(path)[0]["train/step"] == 1


def test_disabled_never_loads_wandb_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)  # importing it now raises ImportError
    assert wandb_start.start(TrackSpec(), tmp_path, config={}, stage="teacher") is None
    assert not list(tmp_path.iterdir())


def test_without_wandb_a_run_says_so_once_and_goes_on(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert wandb_start.start(TrackSpec(wandb="offline"), tmp_path, config={}, stage="teacher") is None
    assert len(caplog.messages) == 1 and "goes on without it" in caplog.messages[0]
