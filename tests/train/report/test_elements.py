"""Parts of a page."""

from __future__ import annotations

import base64

from train.charts import layers
from train.report import elements


def test_a_chart_is_markup_with_its_title() -> None:
    found = elements.chart(layers.drops(["a"], [1.0], unit="x"), "key", title="A & B", text="more")
    assert found.svg.startswith("<svg ") and "A &amp; B" in found.svg and found.caption == "more"


def test_an_image_is_an_address() -> None:
    found = elements.data_uri(b"abc", "png")
    assert found.startswith("data:image/png;base64,") and base64.b64decode(found.partition(",")[2]) == b"abc"
