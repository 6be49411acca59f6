"""Panels as files, and as elements of a page."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET

import pytest
from matplotlib.figure import Figure
from PIL import Image

from configs.shown import printable
from train.charts import picture, style
from train.charts.picture import Panel


def line(name: str = "a") -> Panel:
    def draw(axes) -> None:
        axes.plot([1, 2], [1, 2], color=style.BLUE, label=name)
        axes.set_xlabel(printable(name))
        style.legend(axes)

    return Panel(draw=draw, title=name)


def test_panels_are_rows_of_one_file_and_the_same_bytes_each_time():
    first = picture.file([line()] * 4, across=3, title="t")
    with Image.open(io.BytesIO(first)) as image:
        assert image.size == (3 * 880, 2 * 620 + 70)
    assert picture.file([line()] * 4, across=3, title="t") == first


@pytest.mark.parametrize(("kind", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_a_file_is_of_the_kind_that_is_asked_for(kind, start):
    assert picture.file([line()], kind=kind).startswith(start)


def figure() -> Figure:
    made = Figure(figsize=(3, 2), layout="constrained")
    axes = made.subplots()
    axes.plot([1, 2, 3], [30, 10, 20], label="a label that takes room")
    axes.set(xlabel="x", ylabel="y", title="title")
    axes.legend()
    return made


def test_a_png_is_drawn_once_and_has_the_pixels_of_savefig(monkeypatch):
    drawn, real = [], Figure.draw
    monkeypatch.setattr(Figure, "draw", lambda *words: drawn.append(real(*words)))
    ours, theirs = io.BytesIO(picture._saved(figure(), "png")), io.BytesIO()
    assert len(drawn) == 1
    figure().savefig(theirs, format="png", dpi=picture.DPI)
    assert len(drawn) == 3  # the control
    with Image.open(ours) as found, Image.open(theirs) as wanted:
        assert found.size == wanted.size and found.tobytes() == wanted.tobytes()


def inline(key: str = "k", name: str = "a") -> str:
    return picture.inline(line(name), key, title=f"title {name}", text="text")


def test_an_element_brings_nothing_from_outside_and_takes_the_pages_ink():
    svg = inline()
    assert "http" not in svg and "xlink" not in svg and "font-family" not in svg and "<style" not in svg
    assert style.INK not in svg and "currentColor" in svg and style.BLUE in svg and "<text" in svg


def test_an_element_is_well_formed_and_named_for_those_who_do_not_see_it():
    root = ET.fromstring(inline(name="<b> & \x1b"))
    assert root.get("role") == "img" and root.get("aria-labelledby") == "k-title k-desc"
    assert [(child.tag, child.text) for child in root[:2]] == [("title", "title <b> & \\x1b"), ("desc", "text")]
    assert "<b> & \\x1b" in "".join(root.itertext())


def test_ids_of_two_elements_differ_and_references_find_them():
    one, other = inline("k"), inline("m")
    known = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in (one, other)]
    assert not known[0] & known[1]
    for svg, ids in zip((one, other), known, strict=True):
        assert len(ids) == len(re.findall(r'\bid="', svg))
        wanted = re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', svg)
        assert wanted and {a or b for a, b in wanted} <= ids
