"""Facts: numbers with their source, as HTML and as text."""

from __future__ import annotations

from pathlib import Path

import pytest
from markupsafe import escape

from report_runs import looked_up, shows
from train.report import facts
from train.report.facts import Record, combined, count, interval, line, share

RECORD = Record(Path("r.json"), {"a": 0.5, "b/c": [1, {"d~e": 2}], "bad": "x", "nan": float("nan"), "yes": True})


def test_a_fact_carries_its_value_and_its_place() -> None:
    found = RECORD.fact(share, "a")
    assert found is not None and str(found) == "50.00 %"
    assert escape(found) == '<data value="0.5" title="r.json#a">50.00 %</data>'
    assert RECORD.source("b/c", 1, "d~e") == "r.json#b~1c/1/d~0e"


@pytest.mark.parametrize("keys", [("none",), ("bad",), ("nan",), ("yes",), ("b/c", 9), ("a", "deeper")])
def test_what_is_no_number_is_no_fact(keys) -> None:
    assert RECORD.fact(count, *keys) is None
    assert combined(share, "mean", (RECORD, ("a",)), (RECORD, keys)) is None


def test_what_cannot_be_is_no_fact() -> None:
    record = Record(Path("r.json"), {"correct": 5, "samples": 3, "none": 0})
    assert combined(share, "wilson_low", (record, ("correct",)), (record, ("samples",))) is None
    assert combined(share, "share", (record, ("correct",)), (record, ("none",))) is None


def test_a_source_leads_back_to_the_number(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text('{"x/y": [3, 4], "z": 8}')
    record = Record(path, {"x/y": [3, 4], "z": 8})
    found = combined(share, "share", (record, ("x/y", 1)), (record, ("z",)))
    assert found is not None and looked_up(found.source) == found.value == 0.5


def test_operations_are_what_their_names_say() -> None:
    values = {name: facts.OPERATIONS[name](0.9, 0.8, 0.7, 0.5) for name in ("mean", "mean_difference")}
    assert values == {"mean": pytest.approx(0.725), "mean_difference": pytest.approx(0.15)}
    low, high = (facts.OPERATIONS[f"{end}_difference"](0.9, 0.8, 0.7, 0.5) for end in ("low", "high"))
    assert low < 0.15 < high and low + high == pytest.approx(0.3)
    assert facts.OPERATIONS["share_low"](0.5, 10) == facts.OPERATIONS["wilson_low"](5, 10)


def test_a_line_is_whole_or_nothing_and_words_are_data() -> None:
    found = line("<b>", RECORD.fact(share, "a"))
    assert found is not None and str(found) == "<b>50.00 %"
    assert escape(found).startswith("&lt;b&gt;<data ")
    assert line("x", RECORD.fact(share, "none")) is None and interval([RECORD.fact(share, "a"), None]) is None


@pytest.mark.parametrize(
    ("style", "value", "text"),
    [
        (facts.size, 319_368, "319 kB"),
        (facts.size, 9_999, "9,999 B"),
        (facts.size, 45e6, "45 MB"),
        (facts.milliseconds, 0.027345, "0.027"),
        (facts.milliseconds, 4.84, "4.84"),
        (facts.milliseconds, 1159.71, "1,160"),
        (facts.points, 0.0123, "+1.23"),
        (facts.times, 2.4123, "2.4"),
        (facts.large, 3_052_160, "3.05 M"),
        (facts.bare_share, 0.9805, "98.05"),
        (facts.seconds, 7.16, "7 s"),
    ],
)
def test_every_style_shows_its_value(style, value, text) -> None:
    assert style(value) == text and shows(text, value)
    assert not shows(text, value * 1.2 + 1e-3)  # control
