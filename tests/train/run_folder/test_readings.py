"""Readings of a test split: counted once each, whatever becomes of the reader, and never fewer than there were."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from report_runs import write
from train.run_folder import readings
from train.run_folder.readings import Reading

OWN, OTHER = "a" * 64, "b" * 64


def reading(weights: str = "w", data: str = OWN, *, own: bool = True) -> Reading:
    return Reading(command="train.evaluate", split="test", images=3, weights=weights, data=data, own=own)


def test_each_reading_is_a_line_with_its_time(tmp_path: Path) -> None:
    assert readings.read(tmp_path).number == 0
    for weights in ("v", "w", "w"):
        readings.record(tmp_path, reading(weights))
    found = readings.read(tmp_path)
    assert (found.number, found.networks, found.complete) == (3, 2, True)
    assert found.summary == "3 times, for 2 different networks"
    lines = [json.loads(line) for line in (tmp_path / readings.NAME).read_text().splitlines()]
    assert [line["weights"] for line in lines] == ["v", "w", "w"] and all(line["time"] for line in lines)


def test_the_same_weights_are_told_from_others(tmp_path: Path) -> None:
    readings.record(tmp_path, reading())
    assert readings.read(tmp_path).summary == "once"
    readings.record(tmp_path, reading())
    assert readings.read(tmp_path).summary == "2 times, always for the same weights"


def test_another_data_set_is_counted_by_itself(tmp_path: Path) -> None:
    for data, own in ((OWN, True), (OTHER, False), (OTHER, False), (OWN, False)):  # the last: from another place
        readings.record(tmp_path, reading(data=data, own=own))
    found = readings.read(tmp_path)
    assert found.of_run.number == found.of_data(OWN).number == 2 and found.of_data(OTHER).number == 2
    assert found.of_data("c" * 64).number == 0


@pytest.mark.parametrize("torn", [b'{"time": "20', b"\x00\xff", b'{"time": 1}', b"[" * 100_000])
def test_a_damaged_line_counts_is_named_and_harms_no_other(tmp_path: Path, torn: bytes) -> None:
    readings.record(tmp_path, reading())
    with (tmp_path / readings.NAME).open("ab") as file:
        file.write(torn)
    readings.record(tmp_path, reading())
    faults: list[str] = []
    found = readings.read(tmp_path, faults)
    assert found.number == 3 and found.networks is None and found.readings[2].weights == "w"
    (fault,) = faults
    assert fault.startswith(f"line 2 of {tmp_path / readings.NAME} is damaged")


def test_a_folder_that_cannot_be_written_to_or_read_is_a_warning(tmp_path: Path, caplog) -> None:
    (tmp_path / readings.NAME).mkdir()
    readings.record(tmp_path, reading())
    assert "a reading of test is not counted" in caplog.text
    assert readings.read(tmp_path).number == 0 and "cannot be read" in caplog.text


def test_nobody_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / readings.NAME)
    faults: list[str] = []
    assert readings.read(tmp_path, faults).number == 0 and faults


def test_what_an_earlier_version_did_not_record_is_not_taken_for_none(tmp_path: Path) -> None:
    write(tmp_path / "result.json", {"accuracy_split": "validation"})
    assert readings.read(tmp_path).number == 0
    write(tmp_path / "result.json", {"accuracy_split": "test"})
    assert readings.read(tmp_path).number is None
    readings.record(tmp_path, reading())
    found = readings.read(tmp_path)
    assert (found.number, found.networks, found.summary) == (2, None, "at least 2 times")


def test_an_extension_of_such_a_run_keeps_it_in_mind(tmp_path: Path) -> None:
    before = {"accuracy_split": "test"}
    readings.record(tmp_path, reading())
    for told, complete in ((None, False), (1, True)):
        extension = {"result": before | {"test_reads": told}}
        write(tmp_path / "result.json", before | {"test_reads": 1, "extensions": [extension, {"result": None}]})
        assert readings.read(tmp_path).complete is complete


def test_a_record_that_is_gone_does_not_lower_what_the_result_says(tmp_path: Path) -> None:
    write(tmp_path / "result.json", {"accuracy_split": "test", "test_reads": 3})
    found = readings.read(tmp_path)
    assert (found.number, found.complete, found.summary) == (3, False, "at least 3 times")


def test_a_chain_counts_the_stages_that_its_network_comes_from_once(tmp_path: Path) -> None:
    for stage in ("", "cut", "cut/cut-02", "teacher", "student"):
        (tmp_path / stage).mkdir(parents=True, exist_ok=True)
        readings.record(tmp_path / stage, reading(stage))
    numbers = [readings.read(tmp_path / stage).number for stage in ("", "cut", "cut/cut-02", "student")]
    assert numbers == [3, 2, 1, 1]


def test_weights_belong_to_the_run_that_they_lie_in(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write(run / "status.json", {})
    write(run / "cut" / "result.json", {})
    (run / "copies").mkdir()
    for place, named, owner in (
        (run, None, run),
        (run / "cut", str(run), run / "cut"),
        (run / "copies", str(run), run),
        (run / "copies", None, None),
        (tmp_path, str(run), None),
    ):
        assert readings.home(place / "model.safetensors", named) == owner
