"""By class: of train.evaluate where it ran, or else of the report's own answers."""

from __future__ import annotations

import json
from pathlib import Path

from report_runs import CLASSES, chain
from train.report import classes
from train.report.facts import Record
from train.report.folder import RunFolder
from train.report.networks import subject
from train.report.shades import BY_DAY

COUNTS = {
    "confusion": [[9, 1, 0], [0, 10, 0], [5, 0, 0]],
    "per_class": [{"correct": c, "samples": n} for c, n in ((9, 10), (10, 10), (0, 5))],
}
BOTH = {"answers": {"samples": 25, "split": "validation", "classes": CLASSES, "network": COUNTS, "teacher": COUNTS}}


def section(folder: Path, values: dict) -> classes.Section:
    return classes.section(subject(RunFolder(folder)), Record(folder / "report.json", values))


def test_the_matrix_is_that_of_the_evaluation(tmp_path: Path) -> None:
    confusion, accuracy = section(chain(tmp_path / "c"), {}).parts
    matrix = confusion.extra
    assert isinstance(matrix, classes.Matrix) and matrix.names == [*CLASSES[:2], "\\x1b[31mthree"]
    (first, recall), (second, low), _ = matrix.rows
    assert [cell.count and str(cell.count) for cell in second] == ["3", "95", "2"]
    assert [cell.shade for cell in first] == [len(BY_DAY), 0, 0] and [cell.diagonal for cell in second][1]
    assert (str(recall), str(low)) == ("100 %", "95 %") and "300 test images" in str(confusion.text)
    assert len(accuracy.details[0].columns) == 4  # no teacher


def test_without_an_evaluation_the_reports_own_answers_count_and_the_teacher_stands_beside(tmp_path: Path) -> None:
    run = chain(tmp_path / "c")
    (run / "evaluation-test.json").unlink()
    confusion, accuracy = section(run, BOTH).parts
    assert "25 validation images" in str(confusion.text) and "The teacher stands beside it." in str(accuracy.text)
    row = [str(cell) for cell in accuracy.details[0].rows[2]]
    assert row == ["\\x1b[31mthree", "5", "0.00 %", "0.00 to 43.45 %", "0.00 %", "0.00 to 43.45 %"]


def test_too_many_classes_are_a_list_of_confusions(tmp_path: Path) -> None:
    names = [f"c{i}" for i in range(41)]
    eye = [[2 * (i == j) + (i == 3 and j == 5) * 7 for j in range(41)] for i in range(41)]
    counts = {"confusion": eye, "per_class": [{"correct": 2, "samples": sum(row)} for row in eye]}
    values = {"answers": {**BOTH["answers"], "classes": names, "network": counts, "teacher": None}}
    run = chain(tmp_path / "c")
    (run / "evaluation-test.json").unlink()
    confusion, accuracy = section(run, values).parts
    assert [[str(cell) for cell in row] for row in confusion.tables[0].rows] == [["c3", "c5", "7"]]
    assert confusion.extra is None and not accuracy.charts


def test_a_damaged_matrix_counts_as_none(tmp_path: Path) -> None:
    run = chain(tmp_path / "c")
    known = json.loads((run / "evaluation-test.json").read_text())
    (run / "evaluation-test.json").write_text(json.dumps(known | {"confusion": [[1, 2], [3]]}))
    assert section(run, {}).missing[0].command == f"python -m train.evaluate --run_dir {run}"
