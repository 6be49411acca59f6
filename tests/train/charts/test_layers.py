"""Layers before and after."""

from __future__ import annotations

from drawn import drawn, names, texts
from train.charts import layers


def test_what_is_left_lies_within_what_was():
    with drawn(layers.bars(["conv1", "fc"], [16, 10], [9, 10], unit="channels")) as axes:
        assert [bar.get_width() for bar in axes.patches] == [16, 10, 9, 10]
        assert texts(axes) == ["9", "10"] and names(axes) == ["before", "after"]
        top, bottom = (text.get_position()[1] for text in axes.get_yticklabels())
        assert axes.transData.transform((0, top))[1] > axes.transData.transform((0, bottom))[1]


def test_a_picture_grows_with_its_layers():
    few, many = (layers.drops(["l"] * count, [1.0] * count, unit="points") for count in (2, 20))
    assert many.height > few.height
    with drawn(few) as axes:
        assert [bar.get_width() for bar in axes.patches] == [1, 1]
