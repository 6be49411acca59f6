"""A trial of a wandb sweep: which folder it gets, and what it becomes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from wandb.sdk.lib.config_util import save_config_file_from_dict

from configs.errors import InputError, UsageError
from launch import trial
from launch.points.grid import Point


class Replaced(BaseException):
    """The process became another."""


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """Starts a trial as an agent does; returns the words that it became."""
    monkeypatch.chdir(tmp_path)
    became: list[list[str]] = []

    def exec_(program: str, words: list[str]) -> None:
        became.append(words)
        raise Replaced

    monkeypatch.setattr(os, "execv", exec_)
    monkeypatch.setenv("WANDB_SWEEP_ID", "s1")

    def beginning(values: dict, *words: str) -> list[str]:
        save_config_file_from_dict(f"{tmp_path}/p.yaml", {key: {"value": value} for key, value in values.items()})
        monkeypatch.setenv("WANDB_SWEEP_PARAM_PATH", "p.yaml")
        with pytest.raises(Replaced):
            trial.main(["train.distill", *words])
        return became.pop()[1:]

    (tmp_path / "here").mkdir()
    return beginning


def test_it_becomes_launch_run_with_a_folder_and_wandb_of_its_own(begin):
    words = begin({"optim.lr": 0.1}, "--config", "a.yaml", "--optim.lr=0.1")
    run_dir = f"runs/sweeps/s1/runs/{Point.of({'optim.lr': 0.1}).id}"
    assert words[:7] == ["-m", "launch.run", "train.distill", "--config", "a.yaml", "--optim.lr=0.1", words[6]]
    assert words[6:] == [f"--run_dir={run_dir}", "--track.wandb=online"]
    assert json.loads(Path(run_dir, "overrides.json").read_text()) == {"optim.lr": "0.1"}


@pytest.mark.parametrize(
    "words", [["--run_dir", "x"], ["--run_dir=y", "--run_dir=x"], ["--run_dir", "y", "--run_dir=x"]]
)
def test_its_folder_is_below_the_run_dir_that_the_command_names(begin, words):
    assert begin({"seed": 1}, *words)[-2] == f"--run_dir=x/runs/{Point.of({'seed': 1}).id}"


def test_the_folder_follows_from_the_parameters_alone(begin):
    """So a trial that was preempted finds what it saved, whichever agent gets it, and under whichever wandb run."""
    folders = [begin(values)[-2] for values in ({"a": 1, "b": "1e-3"}, {"b": 0.001, "a": 1.0}, {"a": 2, "b": 0.001})]
    assert folders[0] == folders[1] != folders[2]
    assert folders[0].endswith(Point.of({"a": 1, "b": 0.001}).id)


def test_it_tells_its_agent_where_it_is(begin, tmp_path, monkeypatch):
    monkeypatch.setenv(trial.AGENT, str(tmp_path / "agent"))
    run_dir = begin({"seed": 1})[-2].partition("=")[2]
    assert Path((tmp_path / "agent" / trial.NOTE).read_text()) == tmp_path / run_dir


def test_by_hand_it_says_what_to_do(monkeypatch):
    monkeypatch.delenv("WANDB_SWEEP_ID", raising=False)
    with pytest.raises(
        UsageError, match=r"launch.trial is what an agent starts: launch.sweep FILE; by hand, launch.run"
    ):
        trial.main(["train.distill"])
    with pytest.raises(UsageError, match=r"train.destill is not a command; did you mean train.distill\?"):
        trial.main(["train.destill"])


@pytest.mark.parametrize("content", [None, "", "[", "a: 1\n", "- 1\n"])
def test_parameters_that_cannot_be_read_are_named(tmp_path, content):
    if content is not None:
        (tmp_path / "p.yaml").write_text(content)
    with pytest.raises(InputError, match=r"p.yaml does not hold the parameters of a trial"):
        trial.read_point(tmp_path / "p.yaml")
