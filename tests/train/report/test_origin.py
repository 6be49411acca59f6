"""Where a run comes from."""

from __future__ import annotations

import hashlib
from pathlib import Path

import yaml

from report_runs import chain, distilled
from train.compress.config import CompressConfig
from train.config import DistillConfig
from train.report import origin
from train.report.folder import RunFolder
from train.report.networks import subject


def tables(folder: Path) -> dict[str, dict[str, str]]:
    found = origin.section(subject(RunFolder(folder)))
    return {table.caption: {str(row[0]): str(row[1]) for row in table.rows} for table in found.tables}


def test_the_config_is_what_differs_from_the_defaults(tmp_path: Path) -> None:
    run = chain(tmp_path / "c")
    found = dict(origin.differences(CompressConfig, yaml.safe_load((run / "config.yaml").read_text())))
    assert found["cut.prune.budget.parameters"] == 2600 and found["student.model.widths"] == [4, 8, 16]
    assert found["data.augment.rotation"] == 10 and "data.augment.shear" not in found and "seed" not in found
    assert "student.distill.temperature" in found and "student.distill.alpha" not in found


def test_an_option_that_is_given_shows_and_its_default_does_not(tmp_path: Path) -> None:
    for value, shown in (("0.5", False), ("0.25", True)):
        run = distilled(tmp_path / value, 280, "--distill.alpha", value)
        found = dict(origin.differences(DistillConfig, yaml.safe_load((run / "config.yaml").read_text())))
        assert ("distill.alpha" in found) == shown


def test_environment_lineage_and_command_are_there(tmp_path: Path) -> None:
    run = chain(tmp_path / "c")
    found = tables(run)
    assert found["Environment"]["torch"] == "2.14.1" and found["Environment"]["GPUs"] == "none"
    assert "nvidia-dali-cuda120" not in found["Environment"] and found["Environment"]["seed"] == "0"
    weights = run / "model.safetensors"
    assert found["Lineage"][f"cut: {weights}"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert found["Lineage"]["says of itself: teacher_sha256"] == "ab" * 32
    assert origin.section(subject(RunFolder(run))).extra == "python -m train.compress --run_dir 'a b'"


def test_what_is_gone_is_said(tmp_path: Path) -> None:
    run = distilled(tmp_path / "d", 280, "--teacher", "gone.safetensors")
    (run / "environment.json").unlink()
    assert "environment.json" in origin.section(subject(RunFolder(run))).missing[0].text
    assert tables(run)["Lineage"]["teacher: gone.safetensors"] == "not there" and origin.sha256(tmp_path) is None
