"""One style of percentages and times."""

import pytest

from configs.figures import counted, duration, percent


def test_percentages_have_a_space_before_the_sign():
    assert [percent(0.97931), percent(1, 0), percent(0.5, 1)] == ["97.93 %", "100 %", "50.0 %"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.4, "0 s"), (89, "89 s"), (90, "2 min"), (5399, "1 h 30 min"), (11_100, "3 h 05 min")],
)
def test_times_have_the_unit_that_reads_best(seconds, text):
    assert duration(seconds) == text


def test_one_thing_is_not_called_several():
    assert [counted(1, "process"), counted(2, "process"), counted(2_000, "step")] == [
        "1 process",
        "2 processes",
        "2,000 steps",
    ]
