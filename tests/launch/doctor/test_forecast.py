"""Which executor a config would get: from the named data set if it is there, otherwise from what is usual."""

import shutil
from dataclasses import replace

import pytest
import torch
import yaml

from configs.errors import UsageError
from data_pipes.executors import build, choice
from data_pipes.sources import source
from launch.doctor import forecast
from launch.doctor.forecast import TrainingConfig

CPU = torch.device("cpu")
CUDA = torch.device("cuda", 0)
SHIPPED = {config.name: config for config in forecast.read_configs([], None)}


@pytest.fixture
def free(monkeypatch):
    """Sets the free bytes of an NVIDIA GPU with DALI beside it."""
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(choice, "dali_installed", lambda: True)
    return lambda size: monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (size, 2 * size))


def config(folder, **data):
    own = {"source": "digits", "image_size": [16, 16], "mean": [0.3], "std": [0.3]} | data
    file = folder / "own.yaml"
    file.write_text(yaml.safe_dump({"epochs": 3, "data": own}))
    return str(file)


def test_every_shipped_training_config_has_a_forecast():
    assert SHIPPED.keys() == {
        f"{f.parent.name}/{f.stem}" for f in forecast.CONFIGS.glob("*/*.yaml") if "source:" in f.read_text()
    }
    assert "food11/teacher" in SHIPPED and not any(config.given for config in SHIPPED.values())


def test_shipped_files_that_train_nothing_are_left_out(tmp_path, monkeypatch):
    (tmp_path / "own").mkdir()
    config(tmp_path / "own")
    for name, text in {"sweep": "method: grid\n", "layer": "data:\n  threads: 2\n", "list": "[1]\n", "": ""}.items():
        (tmp_path / "own" / f"{name or 'empty'}.yaml").write_text(text)
    monkeypatch.setattr(forecast, "CONFIGS", tmp_path)
    assert [config.name for config in forecast.read_configs([], None)] == ["own/own"]


def test_named_configs_are_each_read_by_themselves_with_the_folder_that_was_given(tmp_path):
    one, two = forecast.read_configs([config(tmp_path), config(tmp_path)], "elsewhere")
    assert one == two == TrainingConfig(str(tmp_path / "own.yaml"), one.spec, True)
    assert one.spec.root == "elsewhere" and forecast.read_configs([one.name], None)[0].spec.root is None


def test_a_source_alone_is_judged_with_the_settings_of_the_config_that_ships_for_it():
    (one,) = forecast.read_configs([], "photos", "folder")
    assert (one.name, one.given, one.spec.source, one.spec.root) == ("--data.source folder", True, "folder", "photos")
    food = str(forecast.CONFIGS / "food11" / "teacher.yaml")
    assert forecast.read_configs([food], "photos", "folder")[0].spec.source == "folder"
    with pytest.raises(UsageError, match=r"data\.source is photos; expected digits"):
        forecast.read_configs([], None, "photos")


def test_a_named_config_that_is_wrong_is_an_error_with_its_place(tmp_path):
    with pytest.raises(UsageError, match=r"own\.yaml, line 2: data\.executor is dally"):
        forecast.read_configs([config(tmp_path, executor="dally")], None)


def test_a_data_set_that_is_not_there_is_assumed_and_the_line_says_so():
    food = SHIPPED["food11/teacher"]
    spec = replace(food.spec, root="/no/such/folder")
    for given in (False, True):
        found = forecast.predict(TrainingConfig("food11", spec, given), CPU)
        assert "/no/such/folder" in found.assumed and found.executor == "host"
        assert (found.images, found.largest_side) == (9_866, 500)


def test_a_data_set_that_nobody_named_is_not_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "load", lambda *words: pytest.fail("the data set was read"))
    spec = replace(SHIPPED["food11/teacher"].spec, root=str(tmp_path))
    assert "name it with --config" in forecast.predict(TrainingConfig("food11", spec, False), CPU).assumed
    assert forecast.predict(SHIPPED["digits/teacher"], CPU).assumed == ""
    with pytest.raises(pytest.fail.Exception, match="was read"):
        forecast.predict(TrainingConfig("food11", spec, True), CPU)


def test_a_named_data_set_is_looked_at():
    spec = SHIPPED["digits/teacher"].spec
    found = forecast.predict(TrainingConfig("digits", spec, True), CPU)
    assert (found.assumed, found.executor, found.images, found.largest_side) == ("", "resident", 1_293, 8)


@pytest.mark.data("food10")
def test_photographs_are_looked_at_and_announced(data_root, tmp_path, monkeypatch, caplog, free):
    monkeypatch.setenv("HEARTCUT_CACHE", str(tmp_path / "cache"))
    for part in ("training", "validation"):
        (tmp_path / part).mkdir()
        for photograph in sorted((data_root / part).iterdir())[:12]:
            shutil.copy(photograph, tmp_path / part)
    spec = replace(SHIPPED["food11/teacher"].spec, root=str(tmp_path))
    free(100 * 10**9)
    found = forecast.predict(TrainingConfig("mine.yaml", spec, True), CUDA)
    assert found.executor == "dali (canvas)" and found.assumed == "" and found.images == 12 and found.largest_side > 64
    assert "looking at every image" in caplog.text and "mine.yaml" in caplog.text


def test_damaged_data_stops_a_run_and_so_there_is_no_executor(tmp_path):
    for name in ("training", "validation"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0_1.jpg").write_bytes(b"no image")
    spec = replace(SHIPPED["food11/teacher"].spec, root=str(tmp_path))
    found = forecast.predict(TrainingConfig("mine.yaml", spec, True), CPU)
    assert found.executor == "none" and "0_1.jpg" in found.reason and found.assumed == ""


def test_an_executor_that_cannot_be_had_is_none_with_the_way_out(monkeypatch):
    monkeypatch.setattr(choice, "dali_installed", lambda: False)
    for name in ("food11/teacher", "digits/teacher"):
        for given in (False, True):
            spec = replace(SHIPPED[name].spec, executor="dali")
            found = forecast.predict(TrainingConfig(name, spec, given), CPU)
            assert found.executor == "none" and "pip install nvidia-dali-cuda120" in found.reason


def test_the_memory_of_the_gpu_decides_between_files_and_canvas(free):
    food = SHIPPED["food11/teacher"]
    needed = choice.canvas_bytes(food.spec, forecast.usual_images(food.spec)) / choice.DEVICE_SHARE
    free(int(needed * 1.01))
    assert forecast.predict(food, CUDA).executor == "dali (canvas)"
    free(int(needed * 0.99))
    assert forecast.predict(food, CUDA).executor == "dali (files)"


def test_the_usual_canvas_of_photographs_is_the_output_times_the_scale():
    spec = replace(SHIPPED["food11/teacher"].spec, image_size=(100, 200), canvas_scale=1.5)
    images = forecast.usual_images(spec)
    assert images == choice.Images(count=9_866, largest_side=500, common_size=None, encoded=True)
    assert choice.canvas_bytes(spec, images) == 9_866 * 150 * 300 * 3


def test_what_is_usual_for_digits_is_what_they_are():
    spec = SHIPPED["digits/teacher"].spec
    assert forecast.usual_images(spec) == build.describe(source.load(spec, "train"))


@pytest.mark.data("fashion_mnist")
def test_what_is_usual_for_idx_is_what_fashion_mnist_has(data_root):
    spec = replace(SHIPPED["fashion_mnist/teacher"].spec, root=str(data_root))
    found = forecast.predict(TrainingConfig("mine.yaml", spec, True), CPU)
    assert (found.images, found.largest_side, found.assumed) == (spec.facts.usual_count, spec.facts.usual_side, "")
