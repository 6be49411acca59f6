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

from configs.errors import InputError, NonFiniteError
from configs.locks import LockedError
from configs.stopping import StoppedError
from train.run_folder import status
from train.run_folder.occupied import occupied
from train.run_folder.run_dir import RunDir

ROOT = Path(__file__).parents[3]
SMALL = ["--model.depth", "8", "--model.widths", "[2, 4, 4]", "--data.image_size", "[8, 8]", "--data.threads", "1"]


def command(folder: Path, *options: str) -> list[str]:
    own = ["--config", "configs/digits/teacher.yaml", "--run_dir", str(folder), "--ema", "0.9", *SMALL, *options]
    return [sys.executable, "-m", "train.teacher", *own]


def start(folder: Path, *options: str, launcher: bool = False) -> subprocess.Popen:
    words = command(folder, *options)
    if launcher:
        pinned = [
            "--num_machines",
            "1",
            "--mixed_precision",
            "no",
            "--dynamo_backend",
            "no",
            "--main_process_port",
            "0",
        ]
        accelerate = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", *pinned]
        words = [sys.executable, *accelerate, *words[1:]]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


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


# ---- one writer


def test_a_second_process_is_refused_and_the_first_is_unharmed(tmp_path: Path) -> None:
    with occupied(Accelerator(cpu=True), RunDir(tmp_path), "a: 1\n"):
        before = (tmp_path / "status.json").read_bytes()
        started = time.monotonic()
        second = start(tmp_path)
        assert second.wait() == 73 and time.monotonic() - started < 60
        assert second.stderr is not None
        assert f"{tmp_path} is in use by another process (pid {os.getpid()}" in second.stderr.read()
        assert (tmp_path / "status.json").read_bytes() == before
        with pytest.raises(LockedError), occupied(Accelerator(cpu=True), RunDir(tmp_path), "a: 1\n"):
            pass


def test_the_lock_of_a_process_that_was_killed_is_free(tmp_path: Path) -> None:
    killed = start(tmp_path, "--epochs", "50", "--checkpoint_steps", "5")
    wait_for(tmp_path, 5)
    killed.kill()
    killed.wait()
    assert read(tmp_path)["state"] == "running"  # nobody was left to say otherwise
    with occupied(Accelerator(cpu=True), RunDir(tmp_path), (tmp_path / "config.yaml").read_text()):
        pass


# ---- stopped and gone on with


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert start(folder, "--epochs", "4", "--checkpoint_steps", "5").wait() == 0
    return sha(folder)


def test_a_signal_or_two_save_and_the_same_command_ends_alike(tmp_path: Path, whole: str) -> None:
    stopped = start(tmp_path, "--epochs", "4", "--checkpoint_steps", "5")
    wait_for(tmp_path, 5)
    stopped.send_signal(signal.SIGTERM)
    stopped.send_signal(signal.SIGTERM)
    assert stopped.wait() == 75 and stopped.stderr is not None
    said = stopped.stderr.read()
    assert "stopped at step" in said and "error" not in said and "Traceback" not in said
    assert read(tmp_path)["state"] == "preempted" and not (tmp_path / "done").exists()
    assert start(tmp_path, "--epochs", "4", "--checkpoint_steps", "5").wait() == 0
    assert sha(tmp_path) == whole and read(tmp_path)["starts"] == 2


def test_a_signal_before_training_loses_nothing(tmp_path: Path, whole: str) -> None:
    stopped = start(tmp_path, "--epochs", "4", "--checkpoint_steps", "5")
    time.sleep(1.5)  # torch is being imported
    stopped.send_signal(signal.SIGUSR1)
    assert stopped.wait() == 75
    assert start(tmp_path, "--epochs", "4", "--checkpoint_steps", "5").wait() == 0
    assert sha(tmp_path) == whole


def test_a_time_limit_stops_likewise(tmp_path: Path) -> None:
    assert start(tmp_path, "--epochs", "4", "--checkpoint_steps", "5", "--max_minutes", "0.001").wait() == 75
    assert "max_minutes" in read(tmp_path)["reason"] and read(tmp_path)["state"] == "preempted"


@pytest.mark.launcher
def test_one_process_that_is_asked_stops_both_at_the_same_step(tmp_path: Path) -> None:
    options = ["--epochs", "400", "--track.every", "2", "--checkpoint_steps", "5"]
    both = start(tmp_path, *options, launcher=True)
    wait_for(tmp_path, 5)
    os.kill(read(tmp_path)["pid"], signal.SIGTERM)  # the main one; the other hears of it from the main one
    assert both.wait(timeout=60) != 0
    found = read(tmp_path)
    assert (found["state"], found["exit_code"]) == ("preempted", 75)
    again = start(tmp_path, "--epochs", "400", "--track.every", "2", "--checkpoint_steps", "5", "--max_minutes", "0.01")
    assert again.wait() == 75 and again.stderr is not None and "resumed at" in again.stderr.read()


@pytest.mark.launcher
def test_workers_whose_launcher_is_killed_save_and_leave(tmp_path: Path) -> None:
    both = start(tmp_path, "--epochs", "4000", "--track.every", "2", "--checkpoint_steps", "5", launcher=True)
    wait_for(tmp_path, 5)
    worker = read(tmp_path)["pid"]
    both.kill()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{worker}").exists() and "zombie" not in Path(f"/proc/{worker}/status").read_text():
        assert time.monotonic() < deadline, "an orphan trains on"
        time.sleep(0.1)
    assert read(tmp_path)["state"] == "preempted"
