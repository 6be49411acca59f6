"""Event files of TensorBoard, read back: the same points as metrics.jsonl, however often the run was killed."""

import json
from importlib import util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tiny_digits
from configs.errors import UsageError
from configs.stopping import StoppedError
from train import distill
from train.run_folder import status
from train.step import Step
from train.track import tensorboard_run
from train.track.tensorboard_run import FOLDER, SUFFIX, TensorBoardRun
from train.track.tracker import Tracker

needs_package = pytest.mark.skipif(util.find_spec("tensorboard") is None, reason="tensorboard is not installed")


def events(folder: Path) -> list:
    """All events of all files, in the order in which they were written."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    files = sorted((folder / FOLDER).glob("events.out.tfevents.*"))
    return [event for path in files for event in EventFileLoader(str(path)).Load()]


def points(folder: Path) -> list[tuple[int, str, float]]:
    found = [(event.step, value) for event in events(folder) for value in event.summary.value]
    scalars = [(step, value) for step, value in found if value.metadata.plugin_data.plugin_name == "scalars"]
    return [(step, value.tag, value.tensor.float_val[0]) for step, value in scalars]


def recorded(folder: Path) -> list[tuple[int, str, float]]:
    """The same of metrics.jsonl, in the precision of TensorBoard."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [
        (line["train/step"], name, float(np.float32(value)))
        for line in lines
        for name, value in line.items()
        if name != "train/step" and value is not None
    ]


def tracker(folder: Path, resume_step: int) -> Tracker:
    board = TensorBoardRun.start(folder, wanted=True)
    return Tracker(folder / "metrics.jsonl", resume_step=resume_step, board=board)


@needs_package
def test_after_a_resumption_no_point_is_there_twice_or_missing(tmp_path):
    first = tracker(tmp_path, 0)
    for step in (10, 20, 30):
        first.log(step, {"train/loss": 1 / step, "epoch": step})
    lost = tracker(tmp_path, 20)  # the first was killed: it has not closed its file
    lost.log(30, {"train/loss": 7.0, "train/gradient_norm": float("inf")})
    lost.close()
    first.close()
    assert points(tmp_path) == recorded(tmp_path)
    assert [step for step, name, _ in points(tmp_path) if name == "train/loss"] == [10, 20, 30]


@needs_package
def test_files_of_others_stay(tmp_path):
    (tmp_path / FOLDER).mkdir()
    own, other = (tmp_path / FOLDER / f"events.out.tfevents.1.{name}" for name in (f"old{SUFFIX}", "theirs"))
    own.touch()
    other.touch()
    tracker(tmp_path, 0).close()
    assert other.exists() and not own.exists()


@needs_package
def test_pictures_are_shown(tmp_path):
    Image.new("L", (4, 3)).save(tmp_path / "a.png")
    with tracker(tmp_path, 0) as made:
        made.show(5, {"confusion": tmp_path / "a.png"})
    [(step, value)] = [(event.step, value) for event in events(tmp_path) for value in event.summary.value]
    assert (step, value.tag, value.metadata.plugin_data.plugin_name) == (5, "confusion", "images")


@needs_package
def test_a_disk_that_is_full_is_a_warning_once(tmp_path, caplog):
    class Full:
        def add_scalar(self, *_):
            raise OSError("no space left")

    board = TensorBoardRun(Full())
    with Tracker(tmp_path / "metrics.jsonl", resume_step=0, board=board) as made:
        made.log(1, {"train/loss": 1.0})
        made.log(2, {"train/loss": 1.0})
    assert [message for message in caplog.messages if "no space left" in message] == caplog.messages[:1]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_nothing_is_written_unless_wanted(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorboard_run.importlib.util, "find_spec", lambda name: None)
    assert TensorBoardRun.start(tmp_path, wanted=False) is None and not list(tmp_path.iterdir())


def test_without_the_package_a_run_does_not_begin(tmp_path, monkeypatch):
    tiny_digits.save(tmp_path / "teacher.safetensors")
    real = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name, *rest: None if name == "tensorboard" else real(name, *rest))
    with pytest.raises(UsageError, match="tensorboard is not installed: pip install tensorboard"):
        distill.main(tiny_digits.words(tmp_path, "run", "--track.tensorboard", "true"))
    found = status.read(tmp_path / "run")
    assert found["state"] == "failed" and "pip install tensorboard" in found["reason"]
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


@needs_package
def test_a_run_that_is_stopped_and_goes_on_has_each_point_once(tmp_path, monkeypatch):
    """It stops after rows that no checkpoint has."""
    tiny_digits.save(tmp_path / "teacher.safetensors")
    few = ["--epochs", "2", "--checkpoint_steps", "2", "--track.tensorboard", "true", "--distill.teacher_check", "0"]
    calls, real = [], Step.__call__

    def stopping(*words):
        calls.append(1)
        if len(calls) == 9:
            raise StoppedError("now")
        return real(*words)

    with monkeypatch.context() as patch:
        patch.setattr(Step, "__call__", stopping)
        with pytest.raises(StoppedError):
            tiny_digits.train(tmp_path, "run", *few)
    assert len(points(tmp_path / "run")) > 8
    run = tiny_digits.train(tmp_path, "run", *few)
    found = points(run)
    assert found == recorded(run) and {"validation/accuracy", "train/loss"} <= {name for _, name, _ in found}
    assert len({(step, name) for step, name, _ in found}) == len(found)
