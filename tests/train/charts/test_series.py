"""Curves as a run logs them, whole or damaged."""

from __future__ import annotations

import json

import pytest

from train.charts import series

LINES = [
    {"train/step": 10, "train/loss": 3.0},
    {"train/step": 20, "epoch": 1.0, "validation/accuracy": 0.5},
    {"train/step": 30, "train/loss": 2.0, "train/lr": None},
    {"train/step": 40, "epoch": 2.0, "validation/accuracy": 0.7},
    {"train/step": 50, "train/loss": 1.0},
]


def test_steps_become_epochs():
    found = series.of(LINES)
    assert found["train/loss"] == [(0.5, 3.0), (1.5, 2.0), (2.5, 1.0)] and found.epochs == 2
    assert found["validation/accuracy"] == [(1.0, 0.5), (2.0, 0.7)]
    assert found["train/lr"] == [] and found.names("train/") == ["train/loss"]


def test_without_an_end_of_an_epoch_steps_stay_steps():
    assert series.of(LINES[:1])["train/loss"] == [(10.0, 3.0)]


def test_what_is_damaged_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert series.read(path) == series.Curves()
    odd = ["{", "[1]", '{"train/step": "x", "epoch": true}', '{"train/step": 20, "train/loss": NaN}', "[" * 100_000]
    path.write_text("\n".join([*odd, *map(json.dumps, LINES), '{"train/st']))
    assert series.read(path) == series.of(LINES)


def test_runs_that_followed_each_other_are_one_curve():
    both, starts = series.joined([series.of(LINES), series.of(LINES[:2])])
    assert starts == [0.0, 2.0] and both.epochs == 3
    assert both["validation/accuracy"] == [(1.0, 0.5), (2.0, 0.7), (3.0, 0.5)]


@pytest.mark.parametrize("value", [True, "1", None, float("nan"), float("inf"), [1]])
def test_no_number_is_made_up(value):
    assert series.number(value) is None and series.number(1) == 1.0
