"""A table for a person, one object for a program."""

import json

from launch.bench.report import surroundings
from launch.bench.scale.report import Row, ScaleReport

ROWS = [
    Row("warm start", 12.5, 3.25, 1_000_000, 500_000_000, {"walk": 2.0, "images": 1e6}),
    Row("index on disk", None, None, None, None, {"bytes": 2.5e6}),
]


def test_the_table_has_seconds_each_and_memory(capsys):
    ScaleReport(rows=ROWS, environment=surroundings()).write(as_json=False)
    shown = capsys.readouterr().out
    for text in ("warm start", "12.5", "3.25", "500", "walk 2 s", "1,000,000 images", "2.5 MB"):
        assert text in shown


def test_json_is_one_object_with_every_number(capsys):
    ScaleReport(rows=ROWS, environment=surroundings()).write(as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["rows"][0]["seconds"] == 12.5 and found["rows"][1]["figures"] == {"bytes": 2.5e6}
    assert found["environment"]["cores"] >= 1
