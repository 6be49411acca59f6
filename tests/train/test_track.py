"""metrics.jsonl is the record: one strict JSON object a line, cut back to the checkpoint on a restart."""

import json
import os
import struct
import time
from pathlib import Path

import pytest

from train.config import TrackSpec
from train.track import Tracker

CANARY = "0123456789abcdef0123456789abcdef01234567"


def strict(text: str) -> dict:
    """Parse as every other program does: NaN and Infinity are not JSON."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON: {text}")

    return json.loads(text, parse_constant=refuse)


def lines(path: Path) -> list[dict]:
    return [strict(line) for line in path.read_text().splitlines()]


def tracker(path: Path, resume_step=0, **spec) -> Tracker:
    return Tracker(TrackSpec(**spec), path, resume_step=resume_step)


def test_a_line_has_the_step_and_numbers_and_is_there_at_once(tmp_path):
    path = tmp_path / "metrics.jsonl"
    track = tracker(path)
    track.log(50, {"train/loss": 0.1 + 0.2, "epoch": 3})
    assert lines(path) == [{"train/step": 50, "train/loss": 0.1 + 0.2, "epoch": 3.0}]
    track.log(100, {"train/loss": 1e-30})
    assert lines(path)[1] == {"train/step": 100, "train/loss": 1e-30}
    track.close()
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_lines_after_the_checkpoint_and_a_torn_one_are_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    track = tracker(path)
    for step in (10, 20, 30, 40):
        track.log(step, {"x": step})
    track.close()
    with path.open("a") as file:
        file.write('{"train/step": 2')
    again = tracker(path, resume_step=20)
    again.log(30, {"x": -1})
    again.close()
    assert [(line["train/step"], line["x"]) for line in lines(path)] == [(10, 10), (20, 20), (30, -1)]


@pytest.mark.parametrize("torn", ["", "{", '{"train/step": ', '{"x": 1}', "[1]", "null", "5", '{"train/step": null}'])
def test_whatever_a_kill_leaves_is_dropped_and_the_rest_is_kept(tmp_path, torn):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"train/step": 10, "x": 1.0}\n' + torn)
    again = tracker(path, resume_step=1000)
    again.log(20, {"x": 2})
    again.close()
    assert [line["train/step"] for line in lines(path)] == [10, 20]


def test_started_afresh_nothing_of_the_old_run_is_left(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"train/step": 10, "x": 1.0}\n')
    tracker(path, resume_step=0).close()
    assert path.read_text() == ""


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_not_finite_is_still_json(tmp_path, value):
    path = tmp_path / "metrics.jsonl"
    track = tracker(path)
    track.log(1, {"train/gradient_norm": value})
    track.close()
    assert lines(path)[0]["train/step"] == 1


def test_disabled_never_loads_wandb(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)  # importing it now raises ImportError
    track = tracker(tmp_path / "metrics.jsonl")
    assert track.start_wandb(config={}, name="n", stage="teacher", run_id=None) is None
    track.log(1, {"x": 1})
    track.close({"accuracy": 1.0})


def wandb_records(file: Path) -> list:
    """What an offline file holds: seven bytes, then LevelDB's log (blocks of 32 KiB; crc, length, type, data)."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, parts, found = file.read_bytes(), 7, b"", []
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:  # no room for a header: the rest of a block is padding
            place += 32768 - place % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            found.append(Record.FromString(parts))
            parts = b""
    return found


def test_wandb_offline_keeps_its_id_over_a_restart_and_no_key_in_any_file(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", CANARY)
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in [name for name in os.environ if name.startswith("WANDB_SWEEP") or name == "WANDB_RUN_ID"]:
        monkeypatch.delenv(name)
    path, run_id = tmp_path / "metrics.jsonl", None
    for start in (0, 1):
        track = tracker(path, resume_step=10 * start, wandb="offline", project="tests", group="g")
        config = {"optim.lr": 1e-3, "data.image_size": [16, 16]}
        found = track.start_wandb(config=config, name="run", stage="distill", run_id=run_id)
        assert found and run_id in (None, found)
        run_id = found
        track.log(10 * (start + 1), {"train/loss": 0.5})
        track.close({"accuracy": 0.75} if start else None)
        closed = time.time()
        while int(time.time()) == int(closed):  # wandb names an offline folder by the second
            time.sleep(0.02)
    offline = sorted((tmp_path / "wandb").glob(f"offline-run-*-{run_id}/*.wandb"))
    records = [record for file in offline for record in wandb_records(file)]
    runs = [record.run for record in records if record.HasField("run")]
    named = {(run.run_id, run.project, run.run_group, run.job_type) for run in runs}
    assert named == {(run_id, "tests", "g", "distill")}
    config = {one.key or one.nested_key[0]: json.loads(one.value_json) for run in runs for one in run.config.update}
    assert config["optim.lr"] == 1e-3 and config["data.image_size"] == [16, 16]
    history = [record.history.item for record in records if record.HasField("history")]
    rows = [{item.key or item.nested_key[0]: json.loads(item.value_json) for item in row} for row in history]
    assert [row["train/step"] for row in rows] == [10, 20] and all(row["train/loss"] == 0.5 for row in rows)
    metrics = [record.metric for record in records if record.HasField("metric")]
    assert any(metric.glob_name == "*" and metric.step_metric == "train/step" for metric in metrics)
    assert [line["train/step"] for line in lines(path)] == [10, 20]
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) > 3 and not [file for file in files if CANARY.encode() in file.read_bytes()]


def test_a_relative_run_folder_holds_its_files_although_the_service_started_elsewhere(tmp_path, monkeypatch):
    """As under `wandb agent`, whose service is another process in another folder."""
    monkeypatch.setenv("WANDB_SILENT", "true")
    home = tmp_path / "home"
    for place in (tmp_path / "elsewhere", home):
        (place / "run").mkdir(parents=True)
        monkeypatch.chdir(place)  # the first start brings the service up, the second one finds it
        track = tracker(Path("run") / "metrics.jsonl", wandb="offline")
        track.start_wandb(config={}, name="run", stage="teacher", run_id=None)
        track.log(1, {"train/loss": 0.5})
        track.close()
    assert list((home / "run" / "wandb").glob("offline-run-*/*.wandb"))
