"""A run folder belongs to one config, explains itself, and is never half written."""

import json
import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from configs import reader
from configs.errors import InputError
from data_pipes.spec import DataSpec
from models.spec import ModelSpec
from train.config import OptimSpec, TeacherConfig, TrackSpec
from train.run_folder.run_dir import FREE_KEYS, RunDir, differing_keys, write_json

DIGITS = Path(__file__).parents[3] / "configs" / "digits"
DATA = DataSpec(source="digits", image_size=(16, 16), mean=(0.3,), std=(0.4,))
CONFIG = TeacherConfig(
    run_dir="r", data=DATA, epochs=2, model=ModelSpec(name="resnet_small", widths=(2, 4, 8), depth=8)
)


@pytest.fixture
def folder(tmp_path):
    return RunDir.at(str(tmp_path / "runs" / "one"))


def start(folder: RunDir, config=CONFIG) -> None:
    """A run that has come to its first checkpoint."""
    folder.open(reader.dump(config))
    (folder.checkpoints / "step-00000010").mkdir(parents=True)


# ---- one folder, one config


def test_open_makes_a_folder_that_explains_itself(folder):
    folder.open(reader.dump(CONFIG))
    assert reader.read(TeacherConfig, ["--config", str(folder.config)], prog="p", description="d") == CONFIG
    told = json.loads((folder.path / "environment.json").read_text())
    assert (
        told["packages"]["torch"] == torch.__version__.partition("+")[0]
        or told["packages"]["torch"] == torch.__version__
    )
    assert {"torch", "torchvision", "timm", "accelerate", "numpy"} <= {k for k, v in told["packages"].items() if v}
    assert told["python"] == platform.python_version() and told["cores"] == os.cpu_count()
    assert told["torch_threads"] == torch.get_num_threads() and told["command"] and told["gpus"] is not None
    assert sorted(path.name for path in folder.path.iterdir()) == ["config.yaml", "environment.json"]


def test_another_config_is_refused_by_key_with_both_values(folder):
    start(folder)
    other = replace(CONFIG, optim=OptimSpec(lr=0.5), epochs=9)
    before = folder.config.read_text()
    with pytest.raises(InputError) as caught:
        folder.open(reader.dump(other))
    for part in (str(folder.path), "optim.lr was 0.001, is now 0.5", "epochs was 2, is now 9", "--run_dir", "delete"):
        assert part in str(caught.value)
    assert folder.config.read_text() == before


def test_a_finished_run_is_protected_without_its_checkpoints(folder):
    folder.open(reader.dump(CONFIG))
    folder.result.write_text("{}")
    with pytest.raises(InputError, match="epochs was 2, is now 9"):
        folder.open(reader.dump(replace(CONFIG, epochs=9)))


def test_before_the_first_checkpoint_there_is_nothing_to_protect(folder):
    folder.open(reader.dump(CONFIG))
    folder.open(reader.dump(replace(CONFIG, epochs=9)))
    assert yaml.safe_load(folder.config.read_text())["epochs"] == 9


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"seed": 1}, "seed was 0, is now 1"),
        ({"data": replace(DATA, mean=(0.31,))}, r"data\.mean was \[0\.3\], is now \[0\.31\]"),
        ({"model": ModelSpec(name="nin")}, "model.name was resnet_small, is now nin"),
        ({"track": TrackSpec(every=7), "precision": "bf16"}, "precision was float32, is now bf16"),
    ],
)
def test_whatever_changes_the_result_is_refused(folder, change, line):
    start(folder)
    with pytest.raises(InputError, match=line):
        folder.open(reader.dump(replace(CONFIG, **change)))


@pytest.mark.parametrize(
    "change",
    [
        {"data": replace(DATA, threads=3, prefetch=9, root="/elsewhere", bad_files="skip")},
        {"run_dir": "moved"},
        {"track": TrackSpec(wandb="offline", project="p", group="g", every=1)},
        {"checkpoint_steps": 7},
        {"checkpoint_minutes": 7.0},
    ],
    ids=["data", "run_dir", "track", "checkpoint_steps", "checkpoint_minutes"],
)
def test_where_and_how_fast_may_change(folder, change):
    start(folder)
    changed = replace(CONFIG, **change)
    folder.open(reader.dump(changed))
    assert yaml.safe_load(folder.config.read_text()) == yaml.safe_load(reader.dump(changed))


def test_keys_that_came_or_went_are_named():
    assert differing_keys({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"d": 3}}, FREE_KEYS) == [
        "b.d was None, is now 3",
        "b.c was 2, is now None",
    ]
    assert differing_keys({"teacher": None}, {"teacher": "t"}, FREE_KEYS) == ["teacher was None, is now t"]
    assert differing_keys({"tracker": 1}, {"tracker": 2}, FREE_KEYS) == ["tracker was 1, is now 2"]
    assert differing_keys({"track": {"every": 1}}, {"track": {"every": 2, "new": 3}}, FREE_KEYS) == []


def test_what_only_the_end_reads_may_change_until_the_end(folder):
    start(folder)
    folder.open(reader.dump(replace(CONFIG, test=False)))
    assert yaml.safe_load(folder.config.read_text())["test"] is False
    folder.result.write_text("{}")
    folder.done.write_text("")
    with pytest.raises(InputError, match="test was False, is now True"):
        folder.open(reader.dump(CONFIG))


def test_a_chain_is_protected_from_its_first_cut_on(folder):
    folder.open(reader.dump(CONFIG))
    cut = folder.path / "cut-01" / "cut.json"
    cut.parent.mkdir()
    folder.open(reader.dump(replace(CONFIG, epochs=9)))
    cut.write_text("{}")
    with pytest.raises(InputError, match="epochs was 9, is now 2"):
        folder.open(reader.dump(CONFIG))


# ---- files


def test_json_of_a_dataclass_and_of_plain_values(tmp_path):
    write_json(tmp_path / "a.json", TrackSpec())
    write_json(tmp_path / "b.json", {"x": (1, 2.5)})
    assert json.loads((tmp_path / "a.json").read_text())["every"] == 50
    assert (tmp_path / "b.json").read_text() == '{\n  "x": [\n    1,\n    2.5\n  ]\n}\n'


def test_a_run_whose_config_names_a_file_in_letters_resumes_in_an_ascii_locale(tmp_path):
    code = (
        "import sys; from pathlib import Path; from train.run_folder.run_dir import RunDir\n"
        "folder = RunDir.at(sys.argv[1])\n"
        "folder.open('teacher: schl\\u00fcssel.safetensors\\n'); folder.result.touch()\n"
        "folder.open('teacher: schl\\u00fcssel.safetensors\\n')"
    )
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "schlüssel" in (tmp_path / "config.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["config.yaml", "model.safetensors", "metrics.jsonl", "result.json"])
def test_files_that_no_run_has_written_are_not_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("somebody's")
    with pytest.raises(InputError, match=f"{tmp_path} holds {name}, which a run would replace, .* another --run_dir"):
        RunDir(tmp_path).open("a: 1\n")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "somebody's")]


def test_other_files_beside_a_run_stay(tmp_path: Path) -> None:
    """The control: notes, and what a run that was killed at once has written."""
    (tmp_path / "notes.txt").write_text("mine")
    RunDir(tmp_path).open("a: 1\n")
    RunDir(tmp_path).config.unlink()
    RunDir(tmp_path).open("a: 2\n")
    assert (tmp_path / "notes.txt").read_text() == "mine" and RunDir(tmp_path).config.read_text() == "a: 2\n"
