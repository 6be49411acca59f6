"""A bench's result, for a person and for a program."""

import io
import json

import pytest
from rich.console import Console

from launch.bench import report
from launch.bench.rounds import Goal, Lap, Ratio, Spread


def made_up() -> report.Report:
    laps = {"host": [Lap(100, 0.1, 0.2), Lap(100, 0.2, 0.2)], "pil-2": [Lap(100, 1.0, None), Lap(100, 1.0, 1.0)]}
    reached = Ratio(Goal("host/best pil", "host", ("pil-0", "pil-2"), 3.0), "pil-2", Spread(7.5, 5.0, 10.0))
    missed = Ratio(Goal("host/decode", "host", ("decode",), 0.7), "decode", Spread(0.69, 0.6, 0.9))
    return report.Report(
        work="made up", laps=laps, notes={"host": "ours", "pil-2": "theirs"}, ratios=[reached, missed],
        left_out={"tv2": "no reason"}, figures={"plan_us_per_sample": 1.5}, footer=["below"],
        environment={"cpu": "abacus", "cores": 2, "gpus": [], "load_average": 0.25, "python": "3.11", "packages": {}},
    )  # fmt: skip


def test_json_has_everything(capsys):
    made_up().write(as_json=True)
    found = json.loads(capsys.readouterr().out)
    host = {"images_per_second": 750, "images_per_second_min": 500, "images_per_second_max": 1000, "cpu_ms": 2.0}
    assert found["variants"]["host"] == pytest.approx(host)
    assert found["variants"]["pil-2"]["cpu_ms"] is None
    ratio = {"ratio": 7.5, "ratio_min": 5.0, "ratio_max": 10.0, "goal": 3.0, "against": "pil-2"}
    assert found["ratios"]["host/best pil"] == ratio
    assert found["plan_us_per_sample"] == 1.5 and found["left_out"] == {"tv2": "no reason"}
    assert found["environment"]["cpu"] == "abacus"
    assert set(found) == {"variants", "ratios", "plan_us_per_sample", "left_out", "environment"}


def test_the_table_has_everything_in_lines_that_fit():
    console = Console(width=report.WIDTH, record=True, file=io.StringIO())
    made_up().print_to(console)
    lines = [" ".join(line.split()) for line in console.export_text().splitlines()]
    for expected in (
        "abacus, 2 cores; no GPU; load average 0.2 before the start", "made up", "host 750 500 .. 1,000 2 ours",
        "pil-2 100 100 .. 100 ? theirs", "host / pil-2 (best pil) 7.5 5 .. 10 3 reached",
        "host / decode 0.69 0.6 .. 0.9 0.7 missed", "below", "left out: tv2: no reason",
    ):  # fmt: skip
        assert expected in lines
