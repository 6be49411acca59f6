"""How a run starts: id, name, place, and the settings that wandb refuses; read back from offline files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from configs.errors import UsageError
from configs.stopping import StoppedError
from wandb_offline import CONFIG, begin, ended, files, records, rows, runs


def test_one_run_with_its_place_and_flat_config(tmp_path: Path) -> None:
    begin(tmp_path, stage="distill", project="tests", group="g").finish({"accuracy": 0.75})
    (run,) = runs(ended(tmp_path))
    run_id = json.loads((tmp_path / "wandb.json").read_text())["id"]
    assert (run.run_id, run.project, run.run_group, run.job_type) == (run_id, "tests", "g", "distill")
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
    assert [run.run_id for run in runs(ended(tmp_path))] == [known]


def test_another_recipe_in_the_same_folder_is_another_run_and_other_threads_are_not(tmp_path: Path) -> None:
    ids = []
    for change in ({}, {"data.threads": 8}, {"seed": 1}):
        begin(tmp_path, CONFIG | change).finish()
        ids.append(json.loads((tmp_path / "wandb.json").read_text())["id"])
    assert ids[0] == ids[1] != ids[2] and sorted(run.run_id for run in runs(ended(tmp_path))) == sorted(ids)


def test_under_an_agent_the_first_run_is_the_sweeps_and_is_given_back_when_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {"WANDB_SWEEP_ID": "sweep1", "WANDB_RUN_ID": "run1", "WANDB_PROJECT": "theirs"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    homes = tmp_path / "chain", tmp_path / "chain" / "stage"
    chain, stage = begin(homes[0]), begin(homes[1], group="chain")
    stage.log({"train/step": 1, "x": 2.0})
    for run in (stage, chain):
        run.finish(error=StoppedError("stopped"))
    written = [ended(home)[0] for home in homes]
    own, other = runs(written)
    assert (own.run_id, own.sweep_id, own.run_group, own.project) == ("run1", "sweep1", "sweep1", "theirs")
    assert other.run_id != "run1" and (other.sweep_id, other.run_group, other.project) == ("", "chain", "theirs")
    given_back = [any(record.HasField("preempting") for record in records(path)) for path in written]
    assert given_back == [True, False]
    assert not rows(written[0]) and [row["x"] for row in rows(written[1])] == [2.0]


def test_a_name_is_what_the_command_overrides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--config", "c.yaml", "--optim.lr=3e-4", "--seed", "1", "--run_dir", "x", "--data.threads", "8"]
    monkeypatch.setattr("sys.argv", ["train.teacher", *words])
    begin(tmp_path).finish()
    monkeypatch.setattr("sys.argv", ["train.teacher", "--run_dir", "x"])  # as a run is taken up again
    begin(tmp_path).finish()
    assert [run.display_name for run in runs(ended(tmp_path))] == ["lr=3e-4 seed=1"] * 2
    monkeypatch.setenv("WANDB_NAME", "mine")
    begin(tmp_path / "other").finish()
    assert [run.display_name for run in runs(ended(tmp_path / "other"))] == ["mine"]


def test_a_relative_run_folder_holds_its_files_although_the_service_started_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under `wandb agent`, whose service is another process in another folder."""
    for place in (tmp_path / "elsewhere", tmp_path / "home"):
        place.mkdir()
        monkeypatch.chdir(place)  # the first start brings the service up, the second one finds it
        run = begin(Path("run"))
        run.log({"train/step": 10})
        run.finish()
    assert [row["train/step"] for row in rows(ended(tmp_path / "home" / "run")[0])] == [10]


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
        "import pwd, sys; from pathlib import Path\n"
        "from train.config import TrackSpec; from train.track import wandb_start\n"
        "pwd.getpwuid = lambda number: {}[number]\n"
        "run = wandb_start.start(TrackSpec(wandb='offline'), Path(sys.argv[1]), config={}, stage='teacher')\n"
        "assert run is not None; run.finish()"
    )
    kept = {name: value for name, value in os.environ.items() if name not in ("HOME", "HEARTCUT_CACHE")}
    environment = kept | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    words = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(words, env=environment, capture_output=True, check=False, cwd=Path(__file__).parents[3])
    assert done.returncode == 0 and files(tmp_path), done.stderr
