"""PNG files of figures have the pixels of savefig, for the price of one drawing."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from configs import charts


def figure() -> Figure:
    made = Figure(figsize=(3, 2), layout="constrained")
    axes = made.subplots()
    axes.plot([1, 2, 3], [30, 10, 20], label="a label that takes room")
    axes.set(xlabel="x", ylabel="y", title="title")
    axes.legend()
    return made


def pixels(content: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(content))
    assert image.format == "PNG" and image.info["dpi"] == pytest.approx((120, 120), abs=0.1)
    return np.asarray(image)


def test_the_pixels_are_those_of_savefig() -> None:
    content = io.BytesIO()
    figure().savefig(content, format="png", dpi=120)
    wanted = pixels(content.getvalue())
    found = pixels(charts.png(figure()))
    assert found.shape == wanted.shape and (found == wanted).all() and wanted.std() > 10


def test_a_figure_is_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    real = Figure.draw
    monkeypatch.setattr(Figure, "draw", lambda *words: drawn.append(real(*words)))
    charts.png(figure())
    assert len(drawn) == 1
    figure().savefig(io.BytesIO(), format="png")
    assert len(drawn) == 3  # the control
