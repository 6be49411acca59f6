"""Curves of a training: what is there is shown, what is not is not asked for."""

from __future__ import annotations

from drawn import drawn, names
from train.charts import curves, series

LINES = [
    {"train/step": 10, "train/loss": 3.0, "train/ce": 4.0, "train/kd": 0.01, "train/lr": 0.1},
    {"train/step": 20, "epoch": 1.0, "validation/accuracy": 0.5},
    {"train/step": 30, "train/loss": 2.0, "train/ce": 3.0, "train/kd": 0.02, "train/lr": 0.2},
    {"train/step": 40, "epoch": 2.0, "validation/accuracy": 0.75},
]
MORE = {
    "validation/loss": 1.0,
    "train/accuracy": 0.4,
    "validation/agreement": 0.6,
    "train/agreement": 0.5,
    "train/images_per_second": 9000.0,
    "train/gradient_norm": 2.0,
    "seconds/data": 1.0,
    "seconds/step": 3.0,
}


def test_the_terms_of_the_loss_have_names_and_a_wide_range_is_logarithmic():
    found = curves.panels(series.of(LINES))
    assert list(found) == ["loss", "accuracy", "rate"]
    with drawn(found["loss"]) as axes:
        assert names(axes) == ["ce", "kd", "loss"] and axes.get_yscale() == "log"
    narrow = [{key: value for key, value in line.items() if key != "train/kd"} for line in LINES]
    with drawn(curves.panels(series.of(narrow))["loss"]) as axes:
        assert names(axes) == ["loss"] and axes.get_yscale() == "linear" and axes.get_ylim()[0] == 0


def test_the_best_epoch_and_the_teacher_are_marked():
    with drawn(curves.panels(series.of(LINES), best=2, teacher=0.9)["accuracy"]) as axes:
        assert names(axes) == ["validation", "teacher", "75.00 %, epoch 2"]
    with drawn(curves.panels(series.of(LINES))["accuracy"]) as axes:
        assert names(axes) == ["validation"]


def test_newer_metrics_have_their_curves_too():
    found = curves.panels(series.of([*LINES, {"train/step": 40, **MORE}]))
    assert list(found) == ["loss", "accuracy", "rate", "norm", "time"]
    with drawn(found["accuracy"]) as axes:
        assert names(axes) == ["training", "agrees with teacher", "validation"]
    with drawn(found["loss"]) as axes:
        assert names(axes)[-1] == "validation"
    with drawn(found["time"]) as axes:
        assert names(axes) == ["data", "step"] and [bar.get_height() for bar in axes.patches] == [1, 3]
        assert [bar.get_y() for bar in axes.patches] == [0, 1]


def test_nothing_logged_is_nothing_drawn():
    assert curves.panels(series.Curves()) == {}
