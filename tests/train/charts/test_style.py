"""The common looks: colours that are seen by day and by night, numbers without powers of ten, ticks with room."""

from __future__ import annotations

import pytest
from matplotlib import rcParams
from matplotlib.figure import Figure

from drawn import drawn
from train.charts import style
from train.charts.picture import Panel


def luminance(colour: str) -> float:
    """Of WCAG 2.2."""
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colour", style.SERIES)
def test_every_colour_is_seen_on_white_and_in_the_dark(colour):
    assert contrast(colour, style.PAPER) >= 3 and contrast(colour, style.NIGHT) >= 3
    assert contrast("#9cc3ec", style.PAPER) < 3  # control: a light blue is not


@pytest.mark.parametrize(
    ("value", "text"),
    [(2598, "2,598"), (4_326_602, "4.33 M"), (0.001, "0.001"), (0, "0"), (5e9, "5 G"), (1e-6, "1e-06"), (64, "64")],
)
def test_numbers_are_plain(value, text):
    assert style.plain(value) == text


def test_a_logarithmic_axis_suits_positive_values_that_span_a_factor():
    assert style.wide([1, 10]) and not style.wide([1, 9]) and not style.wide([0, 100]) and not style.wide([])


def test_ticks_are_at_the_values_and_have_room():
    axes = Figure().subplots()
    axes.set_xlim(0, 100)
    style.ticks(axes, [1, 2, 3, 50, 99, 100])
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "50", "100"]


def test_the_users_own_looks_are_neither_taken_nor_changed():
    before = rcParams["axes.grid"], rcParams["font.size"]
    with style.drawing():
        assert rcParams["axes.grid"] is True and rcParams["text.parse_math"] is False
    assert (rcParams["axes.grid"], rcParams["font.size"]) == before


def test_a_legend_is_not_wider_than_its_axes_which_it_would_squeeze():
    def draw(axes, names) -> None:
        for name in names:
            axes.plot([0, 1], [0, 1], label=name)
        style.legend(axes)

    long = ["training", "agrees with teacher", "validation", "teacher", "99.31 %, epoch 8"]
    for names, columns in ((long, 2), (["ce", "kd", "loss", "validation"], 3), (["a" * 40, "b"], 1)):
        with drawn(Panel(draw=lambda axes, names=names: draw(axes, names))) as axes:
            legend = axes.get_legend()
            assert legend._ncols == columns
            if columns > 1:
                assert legend.get_window_extent().width < axes.get_window_extent().width
