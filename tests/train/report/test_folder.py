"""Run folders as they are: whole, unfinished, damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from configs.errors import InputError
from report_runs import chain, distilled, masked, weights, write
from train.report import folder
from train.report.folder import RunFolder


def test_the_kind_of_a_run_is_in_its_config(tmp_path: Path) -> None:
    kinds = {make(tmp_path / make.__name__): kind for make, kind in ((chain, "compress"), (masked, "prune"))}
    kinds[distilled(tmp_path / "d", 280)] = "distill"
    assert all(RunFolder(path).kind == kind for path, kind in kinds.items())
    assert RunFolder(tmp_path / "gone").kind == "unknown"


def test_what_is_missing_is_empty_and_no_fault(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert not run.result and not run.export and not run.ledger and not run.header and not run.evaluation
    assert run.config == {} and run.curves.points == {} and run.cuts == [] and run.faults == []


@pytest.mark.parametrize("name", ["result.json", "ledger.json", "config.yaml", "model.safetensors", "status.json"])
def test_what_is_damaged_is_named(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, "{")
    run = RunFolder(tmp_path)
    assert not run.result and not run.ledger and not run.config and not run.header and not run.status
    (fault,) = run.faults
    assert name in fault


def test_a_header_has_card_and_shapes_and_no_other_file_passes_for_one(tmp_path: Path) -> None:
    faults: list[str] = []
    found = folder.card(weights(tmp_path / "w.safetensors", 290, 5142), faults)
    assert found.number("card", "cost", "parameters") == 5142 and found.get("shapes", "conv1.weight") == (4, 1, 3, 3)
    assert faults == []
    from safetensors.numpy import save_file

    save_file({}, tmp_path / "other.safetensors")
    assert not folder.card(tmp_path / "other.safetensors", faults) and "header cannot be read" in faults[0]


def test_an_evaluation_of_weights_that_were_trained_on_is_not_shown(tmp_path: Path) -> None:
    run = distilled(tmp_path / "d", 280)
    evaluated = json.loads((run / "evaluation-test.json").read_text())
    result = json.loads((run / "result.json").read_text())
    for evaluated_file, own, shown in (("a", "a", True), ("a", "b", False), (None, "b", True), ("a", None, True)):
        write(run / "evaluation-test.json", evaluated | {"weights": evaluated_file})
        write(run / "result.json", result | {"sha256": own})
        assert bool(RunFolder(run).evaluation) is shown


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    for path, message in ((tmp_path / "gone", "is no folder"), (tmp_path, "is no run folder")):
        with pytest.raises(InputError, match=message):
            folder.require_run(path)
    assert folder.require_run(chain(tmp_path / "c")).state == "done"
