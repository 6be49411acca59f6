"""Configs of the parts, and training commands in processes."""

import pytest

from configs import reader
from gpu_parts import small
from launch.bench.config import LoaderConfig
from launch.bench.gpu.config import PartConfig
from launch.bench.gpu.parts import material, recipes
from train.config import DistillConfig, TeacherConfig

ALONE = [*recipes.WITHOUT_TEACHER, "--run_dir", "run"]


def read(cls, words):
    return reader.read(cls, words, prog="p", description="d", other_sections=cls is LoaderConfig)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("name", ["photographs", "arrays"])
def test_every_recipe_is_a_config_of_its_commands(tmp_path, monkeypatch, device, name):
    monkeypatch.setattr(material, "PHOTOGRAPHS", material.FEW_PHOTOGRAPHS)
    monkeypatch.setattr(material, "ARRAYS", material.FEW_ARRAYS)
    config = PartConfig(device=device, work=str(tmp_path), answer="a")
    recipe = getattr(recipes, name)(config)
    teacher = read(TeacherConfig, [*recipe.teaching, "--run_dir", "run"])
    student = read(DistillConfig, [*recipe.distilling, *ALONE])
    loading = read(LoaderConfig, recipe.loading)
    assert teacher.data.image_size == student.data.image_size == loading.data.image_size
    assert student.data.image_size == {"arrays": (28, 28)}.get(name, (32, 32) if config.small else (224, 224))
    assert (teacher.model.name == "resnet_small") == (config.small or name == "arrays")


def test_a_teacher_is_trained_once(tmp_path, forked_training, monkeypatch):
    config = small(tmp_path)
    file = recipes.teacher(config)
    monkeypatch.setattr(recipes, "train", None)
    assert recipes.teacher(config) == file == str(tmp_path / "teacher" / "model.safetensors")


def test_a_command_that_fails_is_an_error_with_its_last_line(tmp_path, forked_training):
    with pytest.raises(RuntimeError, match=r"train.teacher ended with exit code 64: error: unknown option --epoch;"):
        recipes.train("train.teacher", ["--epoch", "1"], tmp_path / "log")


def test_a_command_is_a_process_of_its_own(tmp_path):
    with (tmp_path / "log").open("wb") as file:
        assert recipes.start("train.teacher", ["--epoch", "1"], file).wait() == 64
    assert (tmp_path / "log").read_text().startswith("error: unknown option --epoch")
