"""Runs of a sweep against what they vary."""

from __future__ import annotations

import pytest

from drawn import drawn, names, texts
from train.charts import sweep
from train.charts.sweep import Tried

RUNS = [
    Tried(values={"optim.lr": lr, "distill.soft": soft, "seed": seed}, accuracy=0.5 + 0.1 * place, done=place < 7)
    for place, (lr, soft, seed) in enumerate(
        (lr, soft, seed) for lr in ("1e-3", "5e-3") for soft in ("kd", "dkd") for seed in ("0", "1")
    )
]
KEYS = ["optim.lr", "distill.soft", "seed"]


def test_ticks_are_what_was_tried_and_learning_rates_are_logarithmic():
    rate, soft, seed = sweep.panels(RUNS, KEYS)
    with drawn(rate) as axes:
        assert axes.get_xscale() == "log" and [text.get_text() for text in axes.get_xticklabels()] == ["0.001", "0.005"]
        assert names(axes) == ["soft kd", "soft dkd", "mean"]
    with drawn(soft) as axes:
        assert axes.get_xscale() == "linear" and [text.get_text() for text in axes.get_xticklabels()] == ["kd", "dkd"]
        assert names(axes) == ["lr 1e-3", "lr 5e-3", "mean"]
    with drawn(seed) as axes:
        assert names(axes)[:2] == ["lr 1e-3", "lr 5e-3"]


def test_the_best_finished_run_is_ringed_and_means_are_over_all_of_a_value():
    with drawn(sweep.panels(RUNS, KEYS)[0]) as axes:
        means, ring = axes.lines
        assert list(means.get_ydata()) == pytest.approx([65, 105])
        assert ring.get_xydata().tolist() == [[0.005, pytest.approx(110)]]  # 120 is unfinished


def test_one_run_per_value_has_no_means():
    with drawn(sweep.panels(RUNS[:1], ["optim.lr"])[0]) as axes:
        assert len(axes.lines) == 1 and names(axes) == []


def test_all_keys_at_once_with_the_best_on_top():
    with drawn(sweep.parallel(RUNS, KEYS)) as axes:
        assert len(axes.lines) == len(RUNS)
        assert max(axes.lines, key=lambda line: line.get_zorder()).get_ydata()[-1] == pytest.approx(6 / 7)
        assert {"1e-3", "5e-3", "kd", "dkd", "0", "1", "50.00 %", "120.00 %"} == set(texts(axes))
        assert [text.get_text() for text in axes.get_xticklabels()] == ["lr", "soft", "seed", "accuracy"]
