"""What an offline run leaves for wandb: read back from its files."""

from __future__ import annotations

import json
import logging
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from configs.errors import UsageError
from configs.stopping import StoppedError
from train.config import TrackSpec
from train.track import wandb_start
from train.track.tracker import Tracker
from train.track.wandb_files import history, records
from train.track.wandb_run import WandbRun

CONFIG = {"optim.lr": 1e-3, "data.image_size": [16, 16], "seed": 0, "run_dir": "x", "data.threads": 2}


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("sys.argv", ["train.teacher"])


def begin(folder: Path, config: Mapping[str, Any] = CONFIG, stage: str = "teacher", **spec: Any) -> WandbRun:
    folder.mkdir(parents=True, exist_ok=True)
    run = wandb_start.start(TrackSpec(wandb="offline", **spec), folder, config=config, stage=stage)
    assert run is not None
    return run


def track(folder: Path, steps: range, resume_step: int = 0) -> Tracker:
    """One attempt, which is not ended yet."""
    run = begin(folder)
    made = Tracker(folder / "metrics.jsonl", resume_step=resume_step, run=run)
    for step in steps:
        made.log(step, {"train/loss": 1 / step})
        if step % 20 == 0:
            made.log(step, {"epoch": step // 20})
    return made


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("wandb/offline-run-*/*.wandb"))


def rows(folder: Path) -> list[dict[str, Any]]:
    return [row for file in files(folder) for row in history(file)]


def runs(folder: Path) -> Iterator[Any]:
    return (record.run for file in files(folder) for record in records(file) if record.HasField("run"))


def points(folder: Path) -> list[tuple[int, bool]]:
    return [(row["train/step"], "epoch" in row) for row in rows(folder)]


WHOLE = [(10, False), (20, False), (20, True), (30, False), (40, False), (40, True)]


def test_one_run_with_its_place_and_flat_config(tmp_path: Path) -> None:
    begin(tmp_path, stage="distill", project="tests", group="g").finish({"accuracy": 0.75})
    (run,) = {one.run_id: one for one in runs(tmp_path)}.values()
    memo = json.loads((tmp_path / "wandb.json").read_text())
    assert (run.run_id, run.project, run.run_group, run.job_type) == (memo["id"], "tests", "g", "distill")
    config = {one.key or one.nested_key[0]: json.loads(one.value_json) for one in run.config.update}
    assert {key: config[key] for key in CONFIG} == CONFIG
    found = [record for record in records(files(tmp_path)[0]) if record.HasField("metric")]
    assert any(one.metric.glob_name == "*" and one.metric.step_metric == "train/step" for one in found)


def test_an_attempt_that_is_killed_while_wandb_begins_keeps_its_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr("wandb.init", lambda **_: sys.exit())
        begin(tmp_path)
    known = json.loads((tmp_path / "wandb.json").read_text())["id"]
    begin(tmp_path).finish()
    assert [run.run_id for run in runs(tmp_path)] == [known]


def test_two_starts_in_one_second_lose_nothing(tmp_path: Path) -> None:
    track(tmp_path, range(10, 31, 10)).close()
    track(tmp_path, range(40, 41), resume_step=30).close()
    assert points(tmp_path) == WHOLE and len({one.run_id for one in runs(tmp_path)}) == 1


def test_what_was_logged_after_the_checkpoint_is_not_logged_again(tmp_path: Path) -> None:
    track(tmp_path, range(10, 31, 10)).close()
    track(tmp_path, range(30, 41, 10), resume_step=20).close()
    assert points(tmp_path) == WHOLE


def test_what_a_kill_has_lost_is_logged_again(tmp_path: Path) -> None:
    track(tmp_path, range(10, 31, 10)).close()
    lost = files(tmp_path)[0]
    lost.write_bytes(lost.read_bytes()[:7])  # as a kill in the first seconds leaves it
    track(tmp_path, range(40, 41), resume_step=30).close()
    assert points(tmp_path) == WHOLE


@pytest.mark.parametrize("cut", [0.5, 0.7, 0.9])
def test_a_file_that_ends_anywhere_is_completed(tmp_path: Path, cut: float) -> None:
    track(tmp_path, range(10, 31, 10)).close()
    torn = files(tmp_path)[0]
    torn.write_bytes(torn.read_bytes()[: int(cut * torn.stat().st_size)])
    track(tmp_path, range(30, 41, 10), resume_step=20).close()
    assert points(tmp_path) == WHOLE


def test_another_recipe_in_the_same_folder_is_another_run_and_other_threads_are_not(tmp_path: Path) -> None:
    ids = []
    for change in ({}, {"data.threads": 8}, {"seed": 1}):
        run = begin(tmp_path, CONFIG | change)
        run.finish()
        ids.append(run.memo.id)
    assert ids[0] == ids[1] != ids[2] and sorted(run.run_id for run in runs(tmp_path)) == sorted(ids)


def test_the_line_names_every_attempt_that_holds_a_run_and_is_one_for_a_shell(tmp_path: Path, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    folder = tmp_path / "my run's"
    for number in range(3):
        begin(folder).finish()
        if number == 0:
            files(folder)[0].write_bytes(b":W&B\0\0\0")
    words = shlex.split(caplog.messages[-1].partition("with  ")[2])
    assert words == ["wandb", "sync", *(str(file.parent) for file in files(folder)[1:])]


def test_an_error_is_the_exit_code_of_the_attempt(tmp_path: Path) -> None:
    with pytest.raises(StoppedError), track(tmp_path, range(10, 11)):
        raise StoppedError("stopped")
    ends = [record.exit.exit_code for record in records(files(tmp_path)[0]) if record.HasField("exit")]
    assert ends == [75]
    assert not any(record.HasField("preempting") for record in records(files(tmp_path)[0]))


def test_under_an_agent_the_first_run_is_the_sweeps_and_is_given_back_when_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {"WANDB_SWEEP_ID": "sweep1", "WANDB_RUN_ID": "run1", "WANDB_PROJECT": "theirs"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    chain, stage = begin(tmp_path / "chain"), begin(tmp_path / "chain" / "stage", group="chain")
    stage.log({"train/step": 1, "x": 2.0})
    for run in (stage, chain):
        run.finish(error=StoppedError("stopped"))
    (own,), (other,) = ({one.run_id: one for one in runs(folder)}.values() for folder in (chain.folder, stage.folder))
    assert (own.run_id, own.sweep_id, own.run_group, own.project) == ("run1", "sweep1", "sweep1", "theirs")
    assert other.run_id != "run1" and (other.sweep_id, other.run_group, other.project) == ("", "chain", "theirs")
    given_back = [any(r.HasField("preempting") for r in records(files(f)[0])) for f in (chain.folder, stage.folder)]
    assert given_back == [True, False]
    assert not rows(chain.folder) and [row["x"] for row in rows(stage.folder)] == [2.0]


def test_a_name_is_what_the_command_overrides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--config", "c.yaml", "--optim.lr=3e-4", "--seed", "1", "--run_dir", "x", "--data.threads", "8"]
    monkeypatch.setattr("sys.argv", ["train.teacher", *words])
    begin(tmp_path).finish()
    monkeypatch.setattr("sys.argv", ["train.teacher", "--run_dir", "x"])  # as a run is taken up again
    begin(tmp_path).finish()
    assert [run.display_name for run in runs(tmp_path)] == ["lr=3e-4 seed=1"] * 2
    monkeypatch.setenv("WANDB_NAME", "mine")
    begin(tmp_path / "other").finish()
    assert [run.display_name for run in runs(tmp_path / "other")] == ["mine"]


def test_a_table_is_there_once_and_pictures_are_files(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "confusion.png")
    for _ in range(2):
        run = begin(tmp_path)
        run.table(2, "cuts", ["step", "parameters"], [[1, 500], [2, 400]])
        run.finish()
    run = begin(tmp_path)
    run.show(2, {"confusion": tmp_path / "confusion.png"})
    run.finish()
    assert len([row for row in rows(tmp_path) if "cuts" in row]) == 1
    assert len(list(tmp_path.glob("wandb/offline-run-*/files/media/table/cuts*.json"))) == 1
    assert len(list(tmp_path.glob("wandb/offline-run-*/files/media/images/confusion*.png"))) == 1


def test_a_relative_run_folder_holds_its_files_although_the_service_started_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under `wandb agent`, whose service is another process in another folder."""
    for place in (tmp_path / "elsewhere", tmp_path / "home"):
        place.mkdir()
        monkeypatch.chdir(place)  # the first start brings the service up, the second one finds it
        track(Path("run"), range(10, 11)).close()
    assert points(tmp_path / "home" / "run") == [(10, False)]


@pytest.mark.parametrize(("variable", "value"), [("WANDB_TAGS", "x" * 65), ("WANDB_CONSOLE", "loud")])
def test_a_setting_that_wandb_refuses_is_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    import wandb

    wandb.teardown()
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError, match=r"wandb refuses a setting: .*--track.wandb disabled"):
        begin(tmp_path)


def test_a_user_without_a_home_has_a_record(tmp_path: Path) -> None:
    """In a process of its own: wandb's service keeps the surroundings in which it started."""
    code = (
        "import pwd, sys; from pathlib import Path; from train import wandb_start; from train.config import TrackSpec\n"
        "pwd.getpwuid = lambda number: {}[number]\n"
        "run = wandb_start.start(TrackSpec(wandb='offline'), Path(sys.argv[1]), config={}, stage='teacher')\n"
        "assert run is not None; run.finish()"
    )
    kept = {name: value for name, value in os.environ.items() if name not in ("HOME", "HEARTCUT_CACHE")}
    environment = kept | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    words = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(words, env=environment, capture_output=True, check=False, cwd=Path(__file__).parents[3])
    assert done.returncode == 0 and files(tmp_path), done.stderr
