"""A run folder, or a file alone, says what its user need not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import tiny_digits
from configs import reader
from configs.errors import InputError, UsageError
from data_pipes.spec import DataSpec
from models.spec import ModelSpec
from train.config import DistillConfig, TeacherConfig
from train.evaluate.config import EvaluateConfig
from train.loss.config import DistillSpec
from train.predict.config import PredictConfig
from train.run_folder.own_config import with_own_config
from train.run_folder.run_dir import RunDir

DATA = DataSpec(source="digits", image_size=(16, 16), mean=(0.3,), std=(0.4,))
CONFIG = TeacherConfig(
    run_dir="r", data=DATA, epochs=2, model=ModelSpec(name="resnet_small", widths=(2, 4, 8), depth=8)
)


@pytest.fixture
def folder(tmp_path):
    return RunDir.at(str(tmp_path / "runs" / "one"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_digits.save(tmp_path_factory.mktemp("file") / "net.safetensors")


def arguments(*words: object) -> list[str]:
    return with_own_config([*map(str, words)])


def read(cls, *words: object):
    return reader.read(cls, arguments(*words), prog="p", description="d", other_sections=True)


# ---- a run folder


@pytest.mark.parametrize("form", ["apart", "together"])
def test_the_runs_own_config_comes_first(folder, form):
    folder.open(reader.dump(CONFIG))
    words = ["--run_dir", folder.path] if form == "apart" else [f"--run_dir={folder.path}"]
    found = arguments(*words, "--split", "test")
    assert found == ["--config", str(folder.config), *map(str, words), "--split", "test"]


def test_a_config_that_is_named_is_the_only_one(folder):
    folder.open(reader.dump(CONFIG))
    for words in (["--config", "c.yaml"], ["--config=c.yaml"]):
        given = ["--run_dir", str(folder.path), *words]
        assert arguments(*given) == given


def test_of_several_run_folders_the_last_one_counts_as_everywhere_else(tmp_path):
    one, two = (RunDir.at(str(tmp_path / name)) for name in ("one", "two"))
    for folder in (one, two):
        folder.open(reader.dump(CONFIG))
    for words in (["--run_dir", one.path, f"--run_dir={two.path}"], [f"--run_dir={one.path}", "--run_dir", two.path]):
        assert arguments(*words)[1] == str(two.config)


@pytest.mark.parametrize("cls", [EvaluateConfig, PredictConfig])
@pytest.mark.parametrize("stage", ["teacher", "distill"])
def test_evaluate_and_predict_read_the_config_of_every_kind_of_run(folder, cls, stage):
    """`python -m train.evaluate --run_dir R` must take any config.yaml that a run writes."""
    distill = DistillConfig(run_dir="r", data=DATA, epochs=1, student=CONFIG.model, distill=DistillSpec(alpha=0.0))
    folder.open(reader.dump(CONFIG if stage == "teacher" else distill))
    found = read(cls, "--run_dir", folder.path)
    assert found.data == DATA and found.run_dir == str(folder.path)


@pytest.mark.parametrize("more", [[], ["--weights", "x.safetensors"]])
def test_a_folder_that_is_not_there_is_what_is_complained_of(tmp_path, more):
    with pytest.raises(InputError, match=r"run_dir .*nowhere does not exist: .*config.yaml"):
        arguments("--run_dir", tmp_path / "nowhere", *more)
    with pytest.raises(InputError, match="is empty or not a run's"):
        arguments("--run_dir", tmp_path, *more)


def test_a_folder_with_nothing_but_weights_is_read_as_they_are(tmp_path):
    tiny_digits.save(tmp_path / "model.safetensors")
    found = read(EvaluateConfig, "--run_dir", tmp_path, "--data.source", "digits")
    assert found.data == DataSpec(source="digits", image_size=(8, 8), mean=(0.5,), std=(0.5,))


# ---- a file alone


@pytest.mark.parametrize("cls", [EvaluateConfig, PredictConfig])
def test_the_header_says_how_images_are_prepared_and_the_layout_what_they_are(weights, tmp_path, cls):
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "3_17.jpg").touch()
    found = read(cls, "--weights", weights, "--data.root", tmp_path)
    own = {"image_size": (8, 8), "mean": (0.5,), "std": (0.5,)}
    assert found.data == DataSpec(source="food11", root=str(tmp_path), **own) and found.run_dir is None
    assert read(cls, "--weights", weights).data == DataSpec(source="folder", **own)
    told = read(cls, "--weights", weights, "--data.source", "digits", "--data.eval_crop", "0.5")
    assert told.data == DataSpec(source="digits", eval_crop=0.5, **own)


@pytest.mark.parametrize("cls", [EvaluateConfig, PredictConfig])
def test_with_neither_both_ways_are_named_and_a_typo_is_named_first(cls):
    with pytest.raises(UsageError, match=r"weights is None; .* unless run_dir names a run's folder"):
        read(cls)
    with pytest.raises(UsageError, match="unknown option --weigths; did you mean --weights"):
        read(cls, "--weigths", "x")
    with pytest.raises(UsageError, match="--run_dir needs a value"):
        read(cls, "--run_dir")


def test_files_that_cannot_be_read_say_why(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*gone.safetensors"):
        arguments("--weights", tmp_path / "gone.safetensors")
    with pytest.raises(InputError, match=r"is a folder; give a .safetensors file in it, or --run_dir"):
        arguments("--weights", tmp_path)
    (tmp_path / "torn.safetensors").write_bytes(b"\x10")
    with pytest.raises(InputError, match=r"torn.safetensors is damaged"):
        arguments("--weights", tmp_path / "torn.safetensors")
    save_file({"w": np.zeros(2, np.float32)}, tmp_path / "foreign.safetensors")
    with pytest.raises(InputError, match=r"foreign.safetensors is not a Heartcut file"):
        arguments("--weights", tmp_path / "foreign.safetensors")


def test_the_header_is_read_without_torch(weights):
    code = (
        "import sys; from train.run_folder.own_config import with_own_config; words = with_own_config(sys.argv[1:])\n"
        "assert '[8, 8]' in words, words\n"
        "assert not {'torch', 'cv2', 'accelerate'} & set(sys.modules)"
    )
    words = [sys.executable, "-c", code, "--weights", str(weights), "--images", "x"]
    subprocess.run(words, cwd=Path(__file__).parents[3], check=True)


def test_help_needs_neither():
    assert arguments("--help", "--run_dir", "nowhere") == ["--help", "--run_dir", "nowhere"]
