"""Accuracy through the cuts of a chain."""

from __future__ import annotations

from drawn import drawn, names
from train.charts import cuts
from train.charts.cuts import Point, Trade

BEFORE = [Point(nonzero=4000, accuracy=0.5, samples=100), Point(nonzero=2000, accuracy=0.4, samples=100)]
AFTER = [Point(nonzero=4000, accuracy=0.8, samples=100), Point(nonzero=2000, accuracy=1.0, samples=100)]


def test_time_goes_from_left_to_right_with_plain_numbers_at_the_networks():
    dense = Point(nonzero=5000, accuracy=0.9, samples=100)
    with drawn(cuts.panel(Trade(before=BEFORE, after=AFTER, dense=dense, budget=2001, teacher=0.95))) as axes:
        left, right = axes.get_xlim()
        assert left > right
        assert [text.get_text() for text in axes.get_xticklabels()] == ["2,000", "4,000", "5,000"]
        assert names(axes) == ["once trained", "just after the cut", "before the cuts", "teacher", "budget 2,001"]
        assert axes.get_ylim()[1] <= 101


def test_only_what_is_known_is_drawn_and_controls_have_their_names():
    control = Point(nonzero=2000, accuracy=0.6, name="without teacher")
    with drawn(cuts.panel(Trade(before=BEFORE, after=AFTER, controls=[control]))) as axes:
        assert names(axes) == ["once trained", "just after the cut", "without teacher"]


def test_a_wide_range_of_parameters_is_logarithmic_and_still_plain():
    far = Point(nonzero=4_326_602, accuracy=0.9)
    with drawn(cuts.panel(Trade(before=BEFORE, after=AFTER, dense=far))) as axes:
        assert axes.get_xscale() == "log"
        assert [text.get_text() for text in axes.get_xticklabels()][-1] == "4.33 M"


def test_the_reach_is_that_of_the_interval_and_nothing_without_a_count():
    below, above = AFTER[1].reach
    assert above == 0 and 3 < below < 4  # 100 of 100: 96.3 % to 100 %
    assert Point(nonzero=1, accuracy=0.5).reach == (0.0, 0.0)
