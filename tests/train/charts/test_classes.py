"""What is taken for what, and accuracy by class."""

from __future__ import annotations

import numpy as np
import pytest

from drawn import drawn, names, texts
from train.charts import classes
from train.charts.classes import Bars


def test_rows_are_labels_with_their_recall_and_a_class_without_images_is_no_error():
    with drawn(classes.confusion([[3, 1, 0], [0, 5, 0], [0, 0, 0]], ["a", "b", "c"], title="t")) as axes:
        assert np.asarray(axes.images[0].get_array()).tolist() == [[0.75, 0.25, 0], [0, 1, 0], [0, 0, 0]]
        assert texts(axes) == ["75 %", "100 %", "none", "recall", "3", "1", "5"]
        assert len(axes.patches) == 3  # the diagonal


@pytest.mark.parametrize(("count", "numbers", "ticks"), [(15, True, True), (16, False, True), (41, False, False)])
def test_what_has_no_room_is_left_out(count, numbers, ticks):
    eye = np.eye(count, dtype=int).tolist()
    with drawn(classes.confusion(eye, [f"class {i}" for i in range(count)], title="t")) as axes:
        assert ("1" in texts(axes)) == numbers
        assert any(text.get_text() == "class 3" for text in axes.get_yticklabels()) == ticks


def test_bars_go_by_the_first_networks_accuracy_and_stand_beside_each_other():
    student = Bars(name="student", counts=[(1, 4), (4, 4), (0, 0)])
    with drawn(classes.accuracy([student, Bars(name="teacher", counts=[(4, 4)] * 3)], ["a", "$b", "c"])) as axes:
        assert [text.get_text() for text in axes.get_yticklabels()] == ["c", "a", "$b"]
        assert names(axes) == ["student", "teacher"]
        assert [bar.get_width() for bar in axes.patches] == [0, 25, 100, 100, 100, 100]


def test_names_are_short_and_printable():
    assert classes.short("x" * 30) == "x" * 21 + "…" and classes.short("a\x1bb") == "a\\x1bb"
