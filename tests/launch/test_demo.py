"""The demo runs commands that a user could type: each is read by the real reader."""

import subprocess
import sys
from pathlib import Path

import pytest

from configs import reader
from launch import demo, table
from train.config import DistillConfig, TeacherConfig

KINDS = {"train.teacher": TeacherConfig, "train.distill": DistillConfig}


def read(command: list[str]):
    return reader.read(KINDS[command[0]], command[1:], prog="p", description="d")


@pytest.mark.parametrize("seeds", [1, 3])
def test_every_command_parses_and_has_a_folder_of_its_own(tmp_path, seeds):
    commands = demo.stages(tmp_path, seeds)
    configs = [read(command) for command in commands]
    assert [command[0] for command in commands] == ["train.teacher"] + ["train.distill"] * 2 * seeds
    folders = [Path(config.run_dir) for config in configs]
    assert len(set(folders)) == len(folders) and all(folder.parent == tmp_path for folder in folders)
    assert folders == [Path(command[command.index("--run_dir") + 1]) for command in commands]


def test_students_learn_from_the_teacher_of_the_same_demo_on_the_same_data(tmp_path):
    teacher, *students = [read(command) for command in demo.stages(tmp_path, 2)]
    weights = str(Path(teacher.run_dir) / "model.safetensors")
    assert all(student.data == teacher.data and student.data.source == "digits" for student in students)
    assert all(student.teacher == weights for student in students if student.distill.needs_teacher)
    assert [student.distill.needs_teacher for student in students] == [True, False] * 2


def test_the_control_names_no_teacher_from_outside_the_demo(tmp_path):
    """train.evaluate reads `teacher` in a run's config.yaml and would look for it, whether the run used it or not."""
    teacher, *students = [read(command) for command in demo.stages(tmp_path, 1)]
    weights = str(Path(teacher.run_dir) / "model.safetensors")
    assert {student.teacher for student in students} <= {None, weights}


def test_each_pair_differs_in_the_teacher_alone(tmp_path):
    _, *students = [reader.flat(read(command)) for command in demo.stages(tmp_path, 2)]
    for seed, (distilled, alone) in enumerate(zip(students[::2], students[1::2], strict=True)):
        assert {key for key in distilled if distilled[key] != alone[key]} <= {"distill.alpha", "run_dir", "teacher"}
        assert alone["distill.alpha"] == 0 < distilled["distill.alpha"]
        assert distilled["seed"] == seed == alone["seed"]


def test_seeds_become_one_row_of_the_table(tmp_path):
    commands = demo.stages(tmp_path, 3)
    runs = [table.Run(Path(reader.flat(read(c))["run_dir"]), reader.flat(read(c)), {}) for c in commands]
    assert [table.name(group) for group in table.groups(runs)] == ["teacher", "distilled", "without-teacher"]


def test_a_stage_that_fails_is_named_and_nothing_after_it_runs(tmp_path, monkeypatch):
    failing = [["train.teacher", "--no_such_key", "1"], ["train.teacher", "--run_dir", str(tmp_path / "after")]]
    monkeypatch.setattr(demo, "stages", lambda folder, seeds: failing)
    monkeypatch.setattr(sys, "argv", ["demo", "--run_dir", str(tmp_path)])
    with pytest.raises(ValueError, match=r"python -m train\.teacher --no_such_key 1 failed"):
        demo.main()
    assert not (tmp_path / "after").exists()


def test_help_answers_without_running_anything():
    words = [sys.executable, "-m", "launch.demo", "--help"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert "--seeds" in done.stdout and "--run_dir" in done.stdout
