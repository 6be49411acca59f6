"""The benches as parts: their reports become tables with the same figures."""

import pytest
from accelerate.state import AcceleratorState, GradientState

from gpu_parts import column, small
from launch.bench.gpu.parts import benches
from launch.bench.report import Report
from launch.bench.rounds import Goal, Lap, ratios


@pytest.fixture(autouse=True)
def as_in_a_new_process():
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def test_a_report_becomes_tables_with_its_figures():
    laps = {"host": [Lap(100, 1.0, 0.5), Lap(100, 0.5, 0.5)], "pil-0": [Lap(100, 2.0, None), Lap(100, 1.0, None)]}
    report = Report(
        work="work of /somewhere/model.safetensors\n2 rounds", laps=laps, notes={"host": "ours", "pil-0": "theirs"},
        ratios=ratios([Goal("host/pil-0", "host", ("pil-0",), 3.0)], laps), left_out={"dali": "none"}, figures={},
        footer=["plan"], environment={},
    )  # fmt: skip
    found = benches.result([("images", report)], "/somewhere/model.safetensors")
    assert found.tables[0].rows == [["host", 150, 100, 200, 5, "ours"], ["pil-0", 75, 50, 100, None, "theirs"]]
    assert found.tables[1].rows == [["host / pil-0", 2, 2, 2, 3, False]]
    assert found.notes == ["work of a teacher of one epoch 2 rounds", "plan"]
    assert found.left_out == {"dali on images": "none"}


def test_loading(tmp_path):
    found = benches.run(small(tmp_path), "loader")
    titles = [table.title for table in found.tables]
    assert column(found, titles[0], "variant") == ["pil-0", "decode", "dali-plan", "host", "resident"]
    assert column(found, titles[2], "variant") == ["pil-0", "host", "resident"] and len(found.left_out) == 2


def test_a_step_and_a_teacher(tmp_path, forked_training):
    step = benches.run(small(tmp_path), "step")
    assert column(step, step.tables[0].title, "variant") == ["constant", "loader", "resident", "dali-files"]
    assert not any(str(tmp_path) in note for note in step.notes)
    teacher = benches.run(small(tmp_path), "teacher")
    assert column(teacher, teacher.tables[0].title, "variant") == ["without", "cached", "online"]
