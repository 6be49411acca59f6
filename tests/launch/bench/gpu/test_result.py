"""Results as JSON."""

import json

import pytest

from configs.errors import InputError
from launch.bench.gpu import result
from launch.bench.gpu.result import Outcome, Result, Table

FOUND = Result(
    tables=[Table.of("t", ["a", "b", "c"], [[1, 2.3456789, None], ["x | y", True, -1e-9]])],
    notes=["n"], faults=["f"], left_out={"k": "why"},
)  # fmt: skip
OUTCOMES = {"exif": Outcome(state="faults", seconds=1.5, date="d", machine="m", commit="c", result=FOUND)}


def test_what_is_written_is_read_again(tmp_path):
    path = tmp_path / "gpu.json"
    assert result.read(path) == {}
    path.write_text(json.dumps(result.plain(OUTCOMES)))
    assert result.read(path) == OUTCOMES
    assert OUTCOMES["exif"].result.tables[0].rows[0] == [1, 2.3457, None]


def test_fields_of_later_versions_do_not_matter(tmp_path):
    path = tmp_path / "gpu.json"
    content = result.plain(OUTCOMES)
    content["parts"]["exif"]["colour"] = content["parts"]["exif"]["result"]["colour"] = "blue"
    path.write_text(json.dumps(content))
    assert result.read(path) == OUTCOMES


@pytest.mark.parametrize(
    ("break_", "message"),
    [(lambda part: part.pop("state"), "has no state"), (lambda part: part.update(state="fine"), "state is 'fine'"),
     (lambda part: part["result"]["tables"][0]["rows"][1].pop(), "a row of another length than its columns"),
     (lambda part: part["result"]["tables"][0]["rows"][1].append([]), "rows is ")],
)  # fmt: skip
def test_a_damaged_file_is_named(tmp_path, break_, message):
    path = tmp_path / "gpu.json"
    content = json.loads(json.dumps(result.plain(OUTCOMES)))
    break_(content["parts"]["exif"])
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=f"gpu.json is damaged: .*{message}"):
        result.read(path)
