"""An agent in a job array: what becomes of it; and a real one, preempted and started again, with a server of ours."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

import tiny_digits
import wandb_stub
from configs import locks
from launch import agent
from launch.status import command
from launch.trial import NOTE
from train.run_folder import status

ROOT = Path(__file__).parents[2]
LIMIT = 120  # seconds
# wandb's agents ask for work, and look at their trial, every 5 seconds. There is no option for it.
IMPATIENT = """
import sys
if sys.orig_argv[1:4] == ["-m", "wandb", "agent"]:
    from wandb.wandb_agent import Agent
    Agent.POLL_INTERVAL = 0.5
"""


@pytest.mark.parametrize(
    ("trial", "code", "told", "end"),
    [
        (None, 0, False, ("done", 0)),
        (None, 1, False, ("failed", 1)),
        (None, -15, True, ("preempted", 75)),
        ({"state": "done"}, 0, False, ("done", 0)),
        ({"state": "done"}, 0, True, ("done", 0)),
        ({"state": "preempted", "exit_code": 75}, 0, True, ("preempted", 75)),
        ({"state": "preempted", "exit_code": 75}, 0, False, ("done", 0)),
        ({"state": "running"}, 0, True, ("preempted", 75)),
        ({"state": "running"}, 0, False, ("failed", 1)),
        ({"state": "failed", "exit_code": 65, "reason": "nan"}, 0, False, ("failed", 65)),
        ({"state": "failed", "exit_code": 65, "reason": "nan"}, 0, True, ("failed", 65)),
        ({}, 0, False, ("failed", 1)),
    ],
)
def test_what_becomes_of_an_agent(tmp_path, trial, code, told, end):
    if trial is not None:
        (tmp_path / NOTE).write_text(str(tmp_path / "run"))
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "status.json").write_text(json.dumps(trial))
    state, found = agent.ending(tmp_path, code, told=told)
    assert (state, found["exit_code"]) == end


def test_its_status_is_what_a_batch_script_looks_for(tmp_path):
    agent.note(tmp_path, "preempted", {"exit_code": 75})
    assert (tmp_path / "status.json").read_text().startswith('{\n  "state": "preempted"')


def forgotten(folder: Path) -> str:
    """How an agent stands that another host has not heard of for long."""
    os.utime(folder / "status.json", (0, 0))
    return status.state(folder, status.read(folder))


def test_an_agent_that_died_with_its_node_is_lost(tmp_path):
    with agent.at_work(tmp_path):
        agent.note(tmp_path, "running", {"exit_code": None})
        status.note(tmp_path, {"host": "elsewhere"})
        assert forgotten(tmp_path) == "running"
    assert forgotten(tmp_path) == "lost"


def test_an_agent_whose_lock_is_not_seen_gives_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(agent, "SECONDS", 0.01)
    monkeypatch.setattr(locks, "held", lambda folder: False)
    with agent.at_work(tmp_path):
        agent.note(tmp_path, "running", {"exit_code": None})
        status.note(tmp_path, {"host": "elsewhere"})
        os.utime(tmp_path / "status.json", (0, 0))
        until = time.monotonic() + LIMIT
        while status.state(tmp_path, status.read(tmp_path)) != "running":
            assert time.monotonic() < until
            time.sleep(0.01)


def read(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return {}


def wait_for(process: subprocess.Popen, found) -> None:
    """Until something is there; an agent that ends before is a failure."""
    until = time.monotonic() + LIMIT
    while not found():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.05)


def write_sweep(folder: Path) -> dict:
    """A sweep of one trial and its teacher, and agents that do not wait; returns what the file says."""
    tiny_digits.save(folder / "teacher.safetensors")
    words = [*tiny_digits.TRAINING, "--teacher", str(folder / "teacher.safetensors"), "--epochs", "20"]
    words += ["--run_dir", str(folder / "sweep")]
    start = ["${env}", sys.executable, "-m", "launch.trial", "train.distill", *words, "${args}"]
    text = {"program": "train.distill", "command": start, "method": "grid"}
    text["parameters"] = {"optim.lr": {"values": [0.01]}}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(text))
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(IMPATIENT)
    return text


@pytest.mark.launcher
def test_a_preempted_trial_goes_on_with_another_agent(tmp_path):
    text = write_sweep(tmp_path)
    with wandb_stub.Server() as server:
        own = {"PYTHONPATH": f"{tmp_path / 'site'}:{ROOT}", "OMP_NUM_THREADS": "1"}
        place = {"cwd": tmp_path, "env": {**os.environ, **server.environment, **own}, "text": True}

        def begin(*words: str) -> subprocess.Popen:
            started = [sys.executable, "-m", *words]
            return subprocess.Popen(started, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **place)

        created = begin("launch.sweep", "sweep.yaml", "--agents", "0")
        out = created.communicate(timeout=LIMIT)[0]
        assert created.returncode == 0 and "--join me/heartcut/s1" in out, out
        assert yaml.safe_load(server.sweeps[0]["config"]) == text
        assert server.sweeps[0]["projectName"] == "heartcut"

        server.trials = [("r1", {"optim.lr": 0.01})]
        first = begin("launch.agent", "me/heartcut/s1", "a/0", "60")
        wait_for(first, lambda: any(read(path).get("epoch") for path in tmp_path.glob("sweep/runs/*/status.json")))
        assert locks.held(tmp_path / "a/0")
        first.send_signal(signal.SIGTERM)
        out = first.communicate(timeout=LIMIT)[0]
        assert first.returncode == 75, out
        assert read(tmp_path / "a/0/status.json")["state"] == "preempted"
        assert any(sent.get("preempting") for sent in server.streamed)
        (run,) = command.look(tmp_path / "sweep", None).rows
        assert (run.state, run.exit_code, run.overrides) == ("preempted", 75, {"optim.lr": "0.01"})

        server.trials = [("r1", {"optim.lr": 0.01}), ("r2", {"optim.lr": 0.01})]
        second = begin("launch.agent", "me/heartcut/s1", "a/0", "60")
        out = second.communicate(timeout=LIMIT)[0]
        assert second.returncode == 0, out
        (run,) = command.look(tmp_path / "sweep", None).rows
        assert (run.state, run.epoch, run.starts) == ("done", 20, 2)
        assert len(server.trials) == 1  # an agent takes one

        again = begin("launch.sweep", "sweep.yaml", "--join", "me/heartcut/s1")
        out = again.communicate(timeout=LIMIT)[0]
        assert again.returncode == 0 and f"{run.path} is done already; its result is reported" in out, out
        assert {(sent["name"], sent["sweep"]) for sent in server.runs if sent.get("sweep")} == {
            ("r1", "s1"),
            ("r2", "s1"),
        }
        assert "validation_accuracy" in json.dumps(server.streamed[-1])
    kept = [
        path for path in tmp_path.rglob("*") if path.is_file() and wandb_stub.KEY in path.read_text(errors="ignore")
    ]
    assert kept == []


def test_an_agent_that_was_told_before_it_began_is_preempted(tmp_path, monkeypatch):
    monkeypatch.setattr(agent.stopping, "requested", lambda: "SIGTERM was received")
    monkeypatch.setattr(agent.signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(agent.Agents, "start", None)  # nothing is started
    assert agent.main(["e/p/s", str(tmp_path), "5"]) == 75
    assert read(tmp_path / "status.json")["state"] == "preempted"
