"""Which networks a run has, and what is known of each."""

from __future__ import annotations

from pathlib import Path

from report_runs import chain, distilled, masked, stage, weights
from train.report.facts import count
from train.report.folder import RunFolder
from train.report.networks import subject


def test_a_chain_has_teacher_student_cut_and_exported(tmp_path: Path) -> None:
    found = subject(RunFolder(chain(tmp_path / "c")))
    assert [network.name for network in found.networks] == ["teacher", "student", "cut", "exported"]
    teacher, student, cut, _ = found.networks
    assert [str(network.accuracy) for network in (teacher, student, cut)] == ["99.00 %", "96.67 %", "96.00 %"]
    assert str(cut.interval) == "92.88 to 98.77 %" and cut.split == "test" and cut.validation_images == 300


def test_a_teacher_that_is_a_file_is_known_by_its_header(tmp_path: Path) -> None:
    found = subject(RunFolder(masked(tmp_path / "m")))
    assert [network.name for network in found.networks] == ["teacher", "student", "cut"]
    assert found.teacher is not None and str(found.teacher.accuracy) == "99.67 %"
    assert str(found.teacher.interval) == "98.14 to 99.94 %" and str(found.teacher.validation) == "97.33 %"
    assert str(found.teacher.count(count, "parameters")) == "77,754"


def test_a_teacher_in_a_run_folder_is_known_by_its_result(tmp_path: Path) -> None:
    home = stage(tmp_path / "t", 270, 77_754)
    run = distilled(tmp_path / "d", 260, "--teacher", str(home / "model.safetensors"))
    teacher = subject(RunFolder(run)).teacher
    assert teacher is not None and teacher.folder is not None and str(teacher.interval) == "86.88 to 98.77 %"


def test_a_teacher_from_elsewhere_is_the_file_that_was_made_of_it(tmp_path: Path) -> None:
    run = distilled(tmp_path / "d", 260, "--teacher", "timm/resnet18")
    assert subject(RunFolder(run)).teacher is None
    run = distilled(tmp_path / "e", 260, "--teacher", "net.pth")
    weights(run / "adopted-teacher.safetensors", 299, 77)
    teacher = subject(RunFolder(run)).teacher
    assert teacher is not None and str(teacher.count(count, "parameters")) == "77"


def test_nothing_is_made_up(tmp_path: Path) -> None:
    found = subject(RunFolder(tmp_path)).final
    assert found.accuracy is found.interval is found.validation is found.split is found.validation_images is None
