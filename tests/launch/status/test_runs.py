"""Run folders in every state, and chains of them."""

from __future__ import annotations

import json
import logging
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState, GradientState

import tiny_digits
from configs import locks
from configs.stopping import StoppedError
from launch.status import command
from run_folders import make, printed
from train import processes

HOLD = "import fcntl, sys; f = open(sys.argv[1], 'ab'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"


def only(folder: Path):
    """The one run below a folder."""
    (run,) = command.look(folder, None).rows
    return run


@pytest.fixture
def holder():
    """Lets another process hold the lock of a run folder; returns its number."""
    started = []

    def holding(folder: Path) -> int:
        words = [sys.executable, "-c", HOLD, str(folder / "lock")]
        started.append(subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        started[-1].stdout.readline()
        return started[-1].pid

    yield holding
    for process in started:
        process.communicate(b"\n")


def running(pid: int, **values) -> dict:
    """What a run on this host writes."""
    return {"host": platform.node(), "pid": pid} | values


@pytest.fixture
def as_in_a_new_process():
    """Accelerate keeps one state per process, and a command sets up logging; other tests find both as they were."""
    kept, level = logging.getLogger().handlers[:], logging.getLogger().level
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    logging.getLogger().handlers[:] = kept
    logging.getLogger().setLevel(level)


def test_a_real_run_stopped_and_finished(tmp_path, monkeypatch, capsys, as_in_a_new_process):
    tiny_digits.save(tmp_path / "teacher.safetensors")
    steps, real = [0], processes.asked_to_stop

    def asked(accelerator):
        steps[0] += 1
        # It is asked before each epoch, and after each step but the last of an epoch.
        return "SIGTERM was received" if steps[0] == 2 * tiny_digits.STEPS + 1 + 3 else real(accelerator)

    monkeypatch.setattr("train.loop.asked_to_stop", asked)
    with pytest.raises(StoppedError):
        tiny_digits.train(tmp_path, "runs/a", "--test", "true")
    stopped = only(tmp_path)
    assert (stopped.state, stopped.epoch, stopped.epochs, stopped.exit_code) == ("preempted", 2, 4, 75)
    assert "preempted, exit code 75: stopped at step 3 of epoch 3" in printed(capsys, tmp_path)
    tiny_digits.train(tmp_path, "runs/a", "--test", "true")
    done, result = only(tmp_path), json.loads((tmp_path / "runs/a/result.json").read_text())
    assert (done.state, done.epoch, done.starts) == ("done", 4, 2)
    assert (done.validation, done.test) == (result["validation_accuracy"], result["accuracy"])
    assert (done.parameters, done.macs) == (result["parameters"], result["macs"])
    assert "4/4" in printed(capsys, tmp_path)


def test_the_time_left_counts_the_epoch_that_has_begun(tmp_path, holder):
    folder = make(tmp_path / "a")
    known = running(holder(folder), state="running", epoch=4, epochs=16, seconds=40.0, validation_accuracy=0.5)
    (folder / "status.json").write_text(json.dumps(known))
    assert only(tmp_path).left == 120
    lines = [{"train/step": 380, "train/lr": 0.1}, {"train/step": 400, "epoch": 4}, {"train/step": 450}]
    torn = '{"train/step": 4'
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + f"\n{torn}")
    run = only(tmp_path)
    assert (run.state, run.left, run.validation, run.test) == ("running", 115, 0.5, None)


def test_a_run_whose_process_is_gone_is_lost(tmp_path, holder):
    held, free, gone = (make(tmp_path / name) for name in ("held", "free", "gone"))
    for folder, pid in ((held, holder(held)), (free, os.getpid()), (gone, 2**30)):
        (folder / "status.json").write_text(json.dumps(running(pid, state="running")))
    (free / "lock").touch()
    found = {run.path.name: run.state for run in command.look(tmp_path, None).rows}
    assert found == {"held": "running", "free": "lost", "gone": "lost"}


def test_on_another_host_only_silence_and_a_free_lock_mean_that_it_is_lost(tmp_path, holder):
    folder = make(tmp_path / "a", "running", host="elsewhere", pid=1)
    (folder / "lock").touch()
    assert only(tmp_path).state == "running"
    os.utime(folder / "status.json", (0, 0))
    assert only(tmp_path).state == "lost"
    holder(folder)
    assert only(tmp_path).state == "running"


def test_looking_leaves_a_run_its_lock(tmp_path):
    folder = make(tmp_path / "a", "running", **running(os.getpid()))
    (folder / "lock").touch()
    assert locks.held(folder) is False
    words = [sys.executable, "-c", HOLD.replace("LOCK_EX", "LOCK_EX | fcntl.LOCK_NB"), str(folder / "lock")]
    assert subprocess.run(words, input=b"\n", check=False).returncode == 0


def test_stages_stand_below_their_chain_which_sums_them_up(tmp_path, holder):
    chain = make(tmp_path / "c")
    (chain / "config.yaml").write_text("epochs: 4\nfinal_epochs: 10\nprune: {steps: 3}\n")
    make(chain / "cut-01", "done", {"epochs": 4, "seconds": 8.0, "validation_accuracy": 0.8})
    last = make(chain / "cut-02")
    pid = holder(chain), holder(last)
    (chain / "status.json").write_text(json.dumps(running(pid[0], state="running")))
    known = running(pid[1], state="running", epoch=1, epochs=4, seconds=3.0, validation_accuracy=0.7)
    (last / "status.json").write_text(json.dumps(known))
    run = only(tmp_path)
    assert [stage.path.name for stage in run.stages] == ["cut-01", "cut-02"]
    assert (run.epoch, run.epochs, run.validation, run.left) == (5, 18, 0.7, 39)


@pytest.mark.parametrize(
    ("number", "known", "left"),
    [
        (2, {"epoch": 1, "epochs": 4, "seconds": 3.0}, 3 * 3 + 10 * 12),
        (3, {}, 10 * 12),  # the last training has no epoch yet
        (3, {"epoch": 1, "epochs": 10, "seconds": 11.0}, 9 * 11),
    ],
)
def test_the_epochs_after_the_last_cut_take_longer_than_short_ones(tmp_path, holder, number, known, left):
    chain = make(tmp_path / "c")
    (chain / "config.yaml").write_text("epochs: 4\nepoch_share: 0.25\nfinal_epochs: 10\nprune: {steps: 3}\n")
    for done in range(1, number):  # patience ended them early
        make(chain / f"cut-0{done}", "done", {"epochs": 3, "seconds": 9.0, "validation_accuracy": 0.8})
        (chain / f"cut-0{done}" / "config.yaml").write_text("epochs: 4\n")
    last = make(chain / f"cut-0{number}")
    pid = holder(chain), holder(last)
    (chain / "status.json").write_text(json.dumps(running(pid[0], state="running")))
    (last / "status.json").write_text(json.dumps(running(pid[1], state="running", **known)))
    assert only(tmp_path).left == left


@pytest.mark.parametrize("config", ["", "epochs: 4\nprune: 3\n", "epochs: many\nprune: {steps: 3}\n"])
def test_a_chain_whose_config_is_damaged_has_no_time_left(tmp_path, holder, config):
    chain, cut = make(tmp_path / "c"), make(tmp_path / "c" / "cut-01")
    (chain / "config.yaml").write_text(config)
    pid = holder(chain), holder(cut)
    (chain / "status.json").write_text(json.dumps(running(pid[0], state="running")))
    (cut / "status.json").write_text(json.dumps(running(pid[1], state="running", epoch=1, epochs=4, seconds=3.0)))
    assert only(tmp_path).left is None


def test_the_stages_of_compress_are_in_their_order(tmp_path, capsys):
    whole = make(tmp_path / "c", "failed", exit_code=65, reason="the loss is nan\nand more")
    (whole / "config.yaml").write_text(
        "teacher_training: {epochs: 3}\nstudent: {epochs: 5}\ncut: {epochs: 2, final_epochs: null, prune: {steps: 4}}\n"
    )
    for name, count in (("teacher", 3), ("student", 5), ("cut", 8)):
        make(whole / name, "done", {"epochs": count})
    run = only(tmp_path)
    assert [stage.path.name for stage in run.stages] == ["teacher", "student", "cut"]
    assert (run.epoch, run.epochs, run.left) == (16, 16, None)
    lines = printed(capsys, tmp_path).splitlines()
    assert [line.split()[0] for line in lines[3:7]] == ["c", "teacher", "student", "cut"]
    assert "c: failed, exit code 65: the loss is nan" in lines
