"""The table of networks."""

from __future__ import annotations

import json
from pathlib import Path

from report_runs import chain, distilled
from train.report import comparison
from train.report.folder import RunFolder
from train.report.networks import subject


def table(folder: Path) -> dict[str, list[str | None]]:
    (found,) = comparison.section(subject(RunFolder(folder))).tables
    return {str(row[0]): [None if cell is None else str(cell) for cell in row[1:]] for row in found.rows}


def test_every_network_has_its_figures(tmp_path: Path) -> None:
    found = table(chain(tmp_path / "c"))
    assert found["Accuracy"] == ["99.00 %", "96.67 %", "96.00 %", None]
    assert found["on"] == ["300 test images"] * 3 + [None]
    assert found["Agrees with the teacher"] == [None, None, "97.12 %", None]
    assert found["Parameters"] == ["77,754", "5,142", "2,600", "2,600"]
    assert found["Not zero"] == ["77,753", "5,141", "2,599", "2,599"]
    assert found["Bytes of the file"] == ["17 kB", None, "17 kB", "16 kB"]
    assert found["ms, torch, batch 1"] == ["0.840 (0.756 to 0.924)", None, "0.350 (0.315 to 0.385)", None]
    assert found["ms, ONNX Runtime, batch 1"] == ["0.066 (0.059 to 0.072)", None, None, "0.027 (0.025 to 0.030)"]
    assert "ms, torch, batch 64" not in found


def test_what_is_missing_is_said_with_the_way_to_make_it(tmp_path: Path) -> None:
    run = distilled(tmp_path / "d", 280, "--teacher", str(tmp_path / "t.safetensors"))
    known = json.loads((run / "evaluation-test.json").read_text())
    (run / "evaluation-test.json").write_text(json.dumps(known | {"teacher_agreement": None}))
    latency, agreement = comparison.section(subject(RunFolder(run))).missing
    assert "python -m models.export --model" in latency.command
    assert f"--against {tmp_path}/t.safetensors" in latency.command
    assert agreement.command == f"python -m train.evaluate --run_dir {run} --teacher {tmp_path}/t.safetensors"
    (run / "model.safetensors").unlink()
    assert not comparison.section(subject(RunFolder(run))).missing  # there is nothing to measure yet
    assert not comparison.section(subject(RunFolder(chain(tmp_path / "c")))).missing
