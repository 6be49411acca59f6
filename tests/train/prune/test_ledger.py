"""The ledger: what is written is read back, shown, and tracked, a line per cut."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from train.charts.cuts import Point
from train.prune import ledger
from train.prune.ledger import Chart, Entry
from train.run_folder.run_dir import RunDir

FIRST = Entry(
    cut=1, parameters=5142, nonzero=3300, macs=90_000, before=0.5, after=0.75, architecture="a" * 64, sha256="b" * 64
)
ENTRIES = [FIRST, replace(FIRST, cut=2, nonzero=2600, before=0.625, after=0.875)]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    ledger.write(tmp_path, ENTRIES[:1])
    assert ledger.read(tmp_path) == ENTRIES[:1]
    ledger.write(tmp_path, ENTRIES)
    assert ledger.read(tmp_path) == ENTRIES
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.json"]


def test_the_picture_shows_each_cut_and_what_else_is_known(tmp_path: Path) -> None:
    def drawn(entries: list[Entry], chart: Chart) -> bytes:
        ledger.draw(tmp_path, entries, chart)
        return (tmp_path / "ledger.png").read_bytes()

    dense = Point(nonzero=5142, accuracy=0.9, samples=145)
    pictures = [
        drawn(ENTRIES[:1], Chart(title="t")),
        drawn(ENTRIES, Chart(title="t")),
        drawn(ENTRIES, Chart(title="t", dense=dense, budget=2600, samples=145)),
    ]
    assert len(set(pictures)) == 3 and all(picture.startswith(b"\x89PNG") for picture in pictures)


def test_the_table_and_the_line_have_parameters_that_are_not_zero() -> None:
    console = Console(width=100)
    with console.capture() as shown:
        console.print(ledger.table(ENTRIES))
    *_, first, last, _ = shown.get().splitlines()
    assert first.split() == ["1", "5,142", "3,300", "90,000", "50.00", "75.00"]
    assert last.split() == ["2", "5,142", "2,600", "90,000", "62.50", "87.50"]
    told = "3,300 non-zero of 5,142 parameters, validation 50.00 % just after the cut, 75.00 %"
    assert FIRST.summary.startswith(told)


def test_the_metrics_of_a_chain_are_written_anew_each_time(tmp_path: Path) -> None:
    for _ in range(2):  # as after a kill before the marker
        ledger.track(RunDir(tmp_path), ENTRIES, None)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["train/step"] for line in lines] == [1, 2]
    assert [line["cut/nonzero"] for line in lines] == [3300, 2600]
    assert lines[1]["cut/accuracy_just_after"] == pytest.approx(0.625) and lines[1]["cut/accuracy"] == 0.875
