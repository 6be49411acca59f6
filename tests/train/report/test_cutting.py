"""Cuts, and what is left of each layer."""

from __future__ import annotations

import json
from pathlib import Path

from report_runs import chain, distilled, masked
from train.report import cutting
from train.report.facts import Record
from train.report.folder import RunFolder
from train.report.networks import of_run, subject

NOTHING = Record(Path("report.json"), {})


def rows(section) -> list[list[str]]:
    (table,) = (*section.tables, *section.details)
    return [[str(cell) for cell in row] for row in table.rows]


def test_cuts_are_a_chart_and_a_table_with_intervals(tmp_path: Path) -> None:
    control = of_run("without teacher", RunFolder(distilled(tmp_path / "d", 270)))
    found = cutting.section(subject(RunFolder(chain(tmp_path / "c"))), [control])
    assert found is not None
    first, second = rows(found)
    assert first == ["1", "3,300", "3,299", "99,000", "42.11 %", "93.33 %", "89.93 to 95.64 %"]
    assert second[4:6] == ["64.13 %", "95.11 %"]
    for word in ("before the cuts", "teacher", "budget 2,600", "without teacher"):
        assert word in found.charts[0].svg


def test_an_entry_that_is_damaged_is_no_point(tmp_path: Path) -> None:
    run = chain(tmp_path / "c")
    entries = json.loads((run / "cut" / "ledger.json").read_text())
    (run / "cut" / "ledger.json").write_text(json.dumps([entries[0] | {"before": "x"}, entries[1]]))
    found = cutting.section(subject(RunFolder(run)), [])
    assert found is not None and rows(found)[0][4] == "None" and found.charts


def test_channels_before_are_those_before_the_first_cut_of_tied_layers_too(tmp_path: Path) -> None:
    run = chain(tmp_path / "c")
    found = cutting.layer_by_layer(subject(RunFolder(run)), NOTHING)
    assert found is not None and rows(found.parts[0]) == [
        ["conv1", "4", "2"],
        ["tied", "4", "2"],
        ["layer1.conv", "9", "9"],
    ]
    first = run / "cut" / "cut-01" / "cut.json"
    first.write_text(json.dumps(json.loads(first.read_text()) | {"widths_before": None}))
    old = cutting.layer_by_layer(subject(RunFolder(run)), NOTHING)
    assert old is not None and "has no widths_before" in old.parts[0].missing[0].text


def test_of_a_masked_network_the_share_that_is_kept_is_shown(tmp_path: Path) -> None:
    found = cutting.layer_by_layer(subject(RunFolder(masked(tmp_path / "m"))), NOTHING)
    assert found is not None and rows(found.parts[0]) == [["conv1.weight", "36", "9", "25.0 %"]]


def test_sensitivity_is_shown_where_it_was_measured_or_why_not(tmp_path: Path) -> None:
    layer = {"layer": "<conv>", "channels": 8, "removed": 1, "accuracy": 0.25}
    values = {"network": "student", "samples": 10, "accuracy": 0.75, "layers": [layer]}
    found = cutting.sensitivity(Record(Path("report.json"), {"sensitivity": values}))
    assert found is not None and rows(found) == [["<conv>", "8", "1", "25.00 %"]]
    assert "whole: 75.00 %. Network: student." in str(found.text)
    why = cutting.sensitivity(Record(Path("report.json"), {"sensitivity": {"missing": "no images"}}))
    assert why is not None and why.missing[0].text == "no images" and cutting.sensitivity(NOTHING) is None


def test_a_run_without_cuts_has_no_such_section_and_one_that_begins_says_so(tmp_path: Path) -> None:
    plain = subject(RunFolder(distilled(tmp_path / "d", 270)))
    assert cutting.section(plain, []) is None and cutting.layer_by_layer(plain, NOTHING) is None
    run = chain(tmp_path / "c")
    (run / "cut" / "ledger.json").unlink()
    begun = cutting.section(subject(RunFolder(run)), [])
    assert begun is not None and "No cut is finished yet" in begun.missing[0].text
