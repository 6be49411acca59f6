"""The document says what the JSON says, and what has never been run."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from launch.bench.gpu import document, result
from launch.bench.gpu.order import NAMES
from launch.bench.gpu.result import Outcome, Result, Table

ROOT = Path(__file__).parents[4]
DOCUMENT = ROOT / "docs" / "gpu.md"
ROWS = [["a | b", 12_345, 0.0123456, None, True], ["<b>*c*</b>", 0, 12_345.678, 1e-9, False]]
FOUND = Result(
    tables=[Table.of("One", ["what", "count", "rate", "far", "same"], ROWS), Table.of("None", ["empty"], [])],
    notes=["a note"], faults=["a fault"], left_out={"dali": "it is not installed"},
)  # fmt: skip
GOOD = Outcome(state="done", seconds=12.3, date="2026-01-02 03:04", machine="a GPU", commit="abc")


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def same(shown: str, cell: object) -> bool:
    """Whether a printed cell is that of the JSON, up to the digits that are printed."""
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        return float(shown.replace(",", "")) == pytest.approx(cell, rel=1e-3)
    return shown.replace("\\", "") == {None: "", True: "yes", False: "no"}.get(cell, cell)


def test_every_table_of_the_json_is_in_the_document_with_the_same_figures():
    text = document.markdown({"exif": replace(GOOD, result=FOUND)}, trial=False)
    lines = text.split("**One**\n\n")[1].splitlines()
    assert cells(lines[0]) == FOUND.tables[0].columns and cells(lines[1]) == ["---", "--:", "--:", "--:", "--:"]
    for line, row in zip(lines[2:4], FOUND.tables[0].rows, strict=True):
        assert all(same(shown, cell) for shown, cell in zip(cells(line), row, strict=True)), line
    assert not same("12,346", 12_400) and not same("yes", False)  # control
    assert "- a note" in text and "- a fault" in text and "- dali: it is not installed" in text
    assert "\\<b>\\*c\\*\\</b>" in text


def test_what_has_never_been_run_is_named():
    nothing, one = (document.markdown(found, trial=False) for found in ({}, {"exif": GOOD}))
    assert "**Nothing on this page has been run on a GPU yet.**" in nothing
    assert all(f"`{name}`: never run on a GPU." in nothing for name in NAMES)
    assert f"**Never run on a GPU:** {', '.join(NAMES[1:])}." in one and "`exif`: done, after 12 s; 2026" in one
    whole = document.markdown(dict.fromkeys(NAMES, GOOD), trial=False)
    assert "ever run" not in whole and "yet" not in whole


def test_the_machine_is_named_once_or_with_each_part():
    other = replace(GOOD, machine="another GPU")
    assert document.markdown({"exif": GOOD, "tests": GOOD}, trial=False).count("a GPU; commit abc") == 1
    both = document.markdown({"exif": GOOD, "tests": other}, trial=False)
    assert both.count("a GPU; commit abc") == 1 and both.count("another GPU; commit abc") == 1


def test_a_trial_shows_its_own_parts_and_says_that_it_is_one():
    text = document.markdown({"exif": GOOD}, trial=True)
    assert text.startswith("# A trial without a GPU") and "`tests`" not in text
    assert "Without a GPU not tried: DALI's mixed decoder." in text
    assert "not tried" not in document.markdown({"exif": GOOD}, trial=False)


@pytest.mark.parametrize(
    ("outcome", "words"),
    [(replace(GOOD, state="failed", reason="exit code 1: a\nb"), "failed, after 12 s: exit code 1: a b"),
     (replace(GOOD, state="faults", result=FOUND), "done, with 1 fault, after 12 s"),
     (Outcome(state="left out", reason="25 minutes were over"), "left out: 25 minutes were over")],
)  # fmt: skip
def test_how_a_part_ended_is_said_in_words(outcome, words):
    assert document.how(outcome) == words


def test_the_document_of_the_repository_is_that_of_its_json():
    assert DOCUMENT.read_text() == document.markdown(result.read(DOCUMENT.with_suffix(".json")), trial=False)
