"""One process works in a run folder; whoever looks sees how it ended; what was stopped goes on as if it had not."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from accelerate import Accelerator

import forked
import tiny_digits
from configs.errors import InputError, NonFiniteError
from configs.locks import LockedError
from configs.stopping import StoppedError
from train.run_folder import status
from train.run_folder.occupied import occupied, refusal_recorded
from train.run_folder.run_dir import RunDir

ROOT = Path(__file__).parents[3]
SMALL = ["--model.depth", "8", "--model.widths", "[2, 4, 4]", "--data.image_size", "[8, 8]", "--data.threads", "1"]
SMALL += ["--track.pictures", "false"]


def words(folder: Path, *options: str) -> list[str]:
    own = ["--config", "configs/digits/teacher.yaml", "--run_dir", str(folder), "--ema", "0.9", *SMALL, *options]
    return ["train.teacher", *own]


def start(folder: Path, *options: str) -> forked.Running:
    return forked.start(*words(folder, *options), cwd=ROOT)


def end(folder: Path, *options: str) -> forked.Ended:
    return start(folder, *options).wait()


def wait_for(folder: Path, step: int) -> None:
    deadline = time.monotonic() + 120
    while not list((folder / "checkpoints").glob(f"step-*{step}")):
        assert time.monotonic() < deadline, "no checkpoint after two minutes"
        time.sleep(0.02)


def read(folder: Path) -> dict:
    return json.loads((folder / "status.json").read_text())


def sha(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


# ---- status.json


def test_work_that_ends_well(tmp_path: Path) -> None:
    with occupied(Accelerator(cpu=True), RunDir(tmp_path), "a: 1\n"):
        assert read(tmp_path)["state"] == "running" and read(tmp_path)["pid"] == os.getpid()
        status.note(tmp_path, {"epoch": 3})
    assert (read(tmp_path)["state"], read(tmp_path)["exit_code"], read(tmp_path)["epoch"]) == ("done", 0, 3)


@pytest.mark.parametrize(
    ("error", "state", "code"),
    [
        (StoppedError("enough"), "preempted", 75),
        (NonFiniteError("inf"), "failed", 65),
        (InputError("no"), "failed", 66),
        (OSError(28, "No space left on device"), "failed", 74),
        (KeyboardInterrupt(), "failed", 130),
        (AssertionError("ours"), "failed", 1),
    ],
)
def test_the_cause_of_an_end_is_in_it(tmp_path: Path, error: BaseException, state: str, code: int) -> None:
    with pytest.raises(type(error)), occupied(Accelerator(cpu=True), RunDir(tmp_path), "a: 1\n"):
        raise error
    found = read(tmp_path)
    assert (found["state"], found["exit_code"]) == (state, code) and found["reason"]
    with occupied(Accelerator(cpu=True), RunDir(tmp_path), "a: 1\n"):
        pass
    assert read(tmp_path)["starts"] == 2 and read(tmp_path)["state"] == "done"


def test_a_finished_run_keeps_its_status(tmp_path: Path) -> None:
    with occupied(Accelerator(cpu=True), RunDir(tmp_path), "a: 1\n"):
        (tmp_path / "done").touch()
    before = (tmp_path / "status.json").read_bytes()
    with occupied(Accelerator(cpu=True), RunDir(tmp_path), "a: 1\n"):
        pass
    assert (tmp_path / "status.json").read_bytes() == before


def test_a_run_that_was_killed_after_its_marker_is_done_for_whoever_finds_it(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), occupied(Accelerator(cpu=True), RunDir(tmp_path), "a: 1\n"):
        status.write(tmp_path, "running", status.process())
        before = (tmp_path / "status.json").read_bytes()
        raise KeyboardInterrupt
    (tmp_path / "status.json").write_bytes(before)  # as SIGKILL leaves it
    (tmp_path / "done").touch()
    with occupied(Accelerator(cpu=True), RunDir(tmp_path), "a: 1\n"):
        pass
    assert (read(tmp_path)["state"], read(tmp_path)["exit_code"]) == ("done", 0)


# ---- a refusal before the folder is opened


def refuse(folder: Path, config: str = "a: 1\n") -> None:
    with pytest.raises(InputError, match="no"), refusal_recorded(RunDir(folder), config):
        raise InputError("no")


def test_a_refusal_before_the_folder_is_opened_stands_in_it(tmp_path: Path) -> None:
    refuse(tmp_path / "run")
    found = read(tmp_path / "run")
    assert (found["state"], found["exit_code"], found["reason"], found["starts"]) == ("failed", 66, "no", 1)


@pytest.mark.parametrize("stage", ["train.teacher", "train.distill", "train.prune"])
def test_each_stage_records_what_its_processes_refuse(tmp_path: Path, stage: str) -> None:
    network = [] if stage == "train.teacher" else ["--teacher", str(tiny_digits.save(tmp_path / "teacher.safetensors"))]
    network += ["--student.name", network[1]] if stage == "train.prune" else []
    own = ["--config", f"configs/digits/{stage.removeprefix('train.')}.yaml", "--run_dir", str(tmp_path / "run")]
    ended = forked.run(stage, *own, *network, "--precision", "fp16", cwd=ROOT)
    assert ended.code == 64 and read(tmp_path / "run")["state"] == "failed"
    assert "precision is fp16, which needs a GPU" in read(tmp_path / "run")["reason"]


@pytest.mark.parametrize("whose", ["finished", "another's", "in use"])
def test_a_refusal_leaves_what_is_not_its_own(tmp_path: Path, whose: str) -> None:
    with occupied(Accelerator(cpu=True), RunDir(tmp_path), "a: 1\n"):
        before = (tmp_path / "status.json").read_bytes()
        if whose == "in use":
            refuse(tmp_path)
            assert (tmp_path / "status.json").read_bytes() == before
    before = (tmp_path / "status.json").read_bytes()
    (tmp_path / ("done" if whose == "finished" else "result.json")).touch()
    refuse(tmp_path, "a: 1\n" if whose == "finished" else "a: 2\n")
    assert (tmp_path / "status.json").read_bytes() == before


def test_one_process_of_several_records_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    refuse(tmp_path / "run")
    assert not (tmp_path / "run").exists()


# ---- one writer


def test_a_second_process_is_refused_and_the_first_is_unharmed(tmp_path: Path) -> None:
    with occupied(Accelerator(cpu=True), RunDir(tmp_path), "a: 1\n"):
        before = (tmp_path / "status.json").read_bytes()
        second = end(tmp_path)
        assert second.code == 73
        assert f"{tmp_path} is in use by another process (pid {os.getpid()}" in second.stderr
        assert (tmp_path / "status.json").read_bytes() == before
        with pytest.raises(LockedError), occupied(Accelerator(cpu=True), RunDir(tmp_path), "a: 1\n"):
            pass


def test_the_lock_of_a_process_that_was_killed_is_free(tmp_path: Path) -> None:
    killed = start(tmp_path, "--epochs", "50", "--checkpoint_steps", "5")
    wait_for(tmp_path, 5)
    killed.kill()
    assert read(tmp_path)["state"] == "running"  # nobody was left to say otherwise
    with occupied(Accelerator(cpu=True), RunDir(tmp_path), (tmp_path / "config.yaml").read_text()):
        pass


# ---- stopped and gone on with


TWICE = """
import os, signal
from train.step import Step
def interrupted(*words):
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)
Step.__call__ = interrupted
"""
FOUR = ["--epochs", "4", "--checkpoint_steps", "5"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert end(folder, *FOUR).code == 0
    return sha(folder)


def test_a_signal_or_two_save_and_the_same_command_ends_alike(tmp_path: Path, whole: str) -> None:
    stopped = start(tmp_path, *FOUR)
    wait_for(tmp_path, 5)
    stopped.tell(signal.SIGTERM)
    stopped.tell(signal.SIGTERM)
    ended = stopped.wait()
    assert ended.code == 75
    assert "stopped at step" in ended.stderr and "error" not in ended.stderr and "Traceback" not in ended.stderr
    assert read(tmp_path)["state"] == "preempted" and not (tmp_path / "done").exists()
    assert end(tmp_path, *FOUR).code == 0
    assert sha(tmp_path) == whole and read(tmp_path)["starts"] == 2


def test_ctrl_c_saves_and_the_second_leaves_at_once(tmp_path: Path, whole: str) -> None:
    stopped = start(tmp_path, *FOUR)
    wait_for(tmp_path, 5)
    stopped.tell(signal.SIGINT)
    ended = stopped.wait()
    assert ended.code == 75 and "Ctrl-C: saving and leaving" in ended.stderr and "Traceback" not in ended.stderr
    at_once = forked.start(*words(tmp_path, *FOUR), cwd=ROOT, prelude=TWICE).wait()
    assert at_once.code == 130 and at_once.stderr.endswith("interrupted\n")
    assert (read(tmp_path)["state"], read(tmp_path)["exit_code"]) == ("failed", 130)
    assert end(tmp_path, *FOUR).code == 0
    assert sha(tmp_path) == whole and read(tmp_path)["starts"] == 3


def test_a_signal_before_training_loses_nothing(tmp_path: Path, whole: str) -> None:
    """In a process of its own, which imports torch when it is told."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    stopped = subprocess.Popen([sys.executable, "-m", *words(tmp_path, *FOUR)], cwd=ROOT, env=environment)
    time.sleep(1.5)
    stopped.send_signal(signal.SIGUSR1)
    assert stopped.wait() == 75
    assert end(tmp_path, *FOUR).code == 0
    assert sha(tmp_path) == whole


def test_a_time_limit_stops_likewise(tmp_path: Path) -> None:
    assert end(tmp_path, *FOUR, "--max_minutes", "0.001").code == 75
    assert "max_minutes" in read(tmp_path)["reason"] and read(tmp_path)["state"] == "preempted"


ENDLESS = ["--epochs", "4000", "--track.every", "2", "--checkpoint_steps", "5"]


@pytest.mark.launcher
def test_one_process_that_is_asked_stops_both_at_the_same_step(tmp_path: Path) -> None:
    main, other = forked.start_world(2, *words(tmp_path, *ENDLESS), cwd=ROOT)
    wait_for(tmp_path, 5)
    main.tell(signal.SIGTERM)  # the other hears of it from the main one
    assert [main.wait().code, other.wait().code] == [75, 75]
    found = read(tmp_path)
    assert (found["state"], found["exit_code"]) == ("preempted", 75)
    alone = end(tmp_path, *ENDLESS, "--max_minutes", "0.01")
    assert alone.code == 66 and "micro-batches of 32 images are now of 64 (--micro_batch_size 32 keeps" in alone.stderr
    again = end(tmp_path, *ENDLESS, "--max_minutes", "0.01", "--micro_batch_size", "32")
    assert again.code == 75 and "resumed at" in again.stderr


@pytest.mark.launcher
def test_workers_whose_launcher_is_killed_save_and_leave(tmp_path: Path) -> None:
    pinned = ["--config_file", "configs/accelerate/cpu.yaml", "-m"]
    launch = [sys.executable, "-m", "accelerate.commands.launch", *pinned, *words(tmp_path, *ENDLESS)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    both = subprocess.Popen(launch, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    wait_for(tmp_path, 5)
    worker = read(tmp_path)["pid"]
    both.kill()
    both.wait()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{worker}").exists() and "zombie" not in Path(f"/proc/{worker}/status").read_text():
        assert time.monotonic() < deadline, "an orphan trains on"
        time.sleep(0.1)
    assert read(tmp_path)["state"] == "preempted"
