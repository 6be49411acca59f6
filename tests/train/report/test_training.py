"""Curves of a run and of a chain."""

from __future__ import annotations

import json
from pathlib import Path

from report_runs import chain, distilled
from train.report import training
from train.report.folder import RunFolder
from train.report.networks import subject


def test_a_chain_has_the_curves_of_all_its_stages(tmp_path: Path) -> None:
    found = training.section(subject(RunFolder(chain(tmp_path / "c"))))
    assert [part.title for part in found.parts] == ["Teacher", "Student", "Training between the cuts"]
    assert all(len(part.charts) == 3 for part in found.parts) and not found.missing
    assert str(found.parts[0].text) == "Best epoch: 2 of 2, 96.67 % on validation; 7 s in all."
    assert found.parts[2].charts[1].caption == "Accuracy over 4 epochs: on validation from 50.00 % to 75.00 %"


def test_what_limits_a_run_is_said_where_it_is_logged(tmp_path: Path) -> None:
    run = distilled(tmp_path / "d", 280)
    before = str(training.section(subject(RunFolder(run))).parts[0].text)
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"train/step": 20, "seconds/data": 9.0, "seconds/step": 1.0}) + "\n")
    after = str(training.section(subject(RunFolder(run))).parts[0].text)
    assert after == before + " Decoding and augmentation took most of the time: 90 %."


def test_without_an_epoch_that_is_said(tmp_path: Path) -> None:
    run = distilled(tmp_path / "d", 280)
    (run / "metrics.jsonl").write_text("")
    found = training.section(subject(RunFolder(run)))
    assert not found.parts and "No epoch is logged yet" in found.missing[0].text
