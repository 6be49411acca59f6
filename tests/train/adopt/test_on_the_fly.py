"""A run adopts what comes from elsewhere, once, and goes on with what it adopted."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
import yaml

import tiny_digits
from configs import reader
from configs.errors import InputError, UsageError
from models import artefact
from models.adopt.conversion import ORIGIN, ORIGIN_SHA
from models.spec import ModelSpec
from train.adopt import on_the_fly
from train.adopt.config import STUDENT, TEACHER
from train.cache import fill as caching
from train.cache.config import CacheConfig
from train.config import DistillConfig, TeacherConfig
from train.processes import make_accelerator
from train.run_folder.run_dir import RunDir
from train.stage.run import run as run_stage

CONFIG = tiny_digits.DIGITS / "distill.yaml"


@pytest.fixture(scope="module")
def pth(tmp_path_factory):
    """A state dict of elsewhere, as a DataParallel training left it."""
    net, _ = tiny_digits.network(seed=3)
    path = tmp_path_factory.mktemp("elsewhere") / "teacher.pth"
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in net.state_dict().items()}}, path)
    return path


def words(run, teacher, *options):
    own = ["--config", str(CONFIG), "--run_dir", str(run), "--teacher", str(teacher), "--student.widths", "[2, 4, 8]"]
    plain = ["--track.every", "1", "--track.pictures", "false"]
    return [*own, *tiny_digits.SMALL_DATA, "--test", "false", "--epochs", "1", *plain, *options]


def distil(run, teacher, *options):
    config = reader.read(DistillConfig, words(run, teacher, *options), prog="x", description="x")
    run_stage(config, "distill")
    return config


def test_a_state_dict_teaches_and_is_measured(pth, tmp_path):
    run = tmp_path / "run"
    distil(run, pth)
    card = artefact.read_card(run / TEACHER)
    assert (card.lineage[ORIGIN], card.lineage[ORIGIN_SHA]) == (pth.name, artefact.sha256(pth))
    assert card.scores["validation"].total == 1151 and card.classes == tiny_digits.CLASSES
    assert yaml.safe_load((run / "config.yaml").read_text())["teacher"] == str(pth)  # as the user wrote it
    student = artefact.read_card(run / "model.safetensors")
    assert student.lineage["teacher_sha256"] == artefact.sha256(run / TEACHER)
    assert json.loads((run / "result.json").read_text())["teacher"] == str(run / TEACHER)


def test_it_teaches_as_the_same_weights_in_a_file_of_ours(pth, tmp_path):
    distil(tmp_path / "one", pth)
    shutil.copy(tmp_path / "one" / TEACHER, tmp_path / "ours.safetensors")
    distil(tmp_path / "two", tmp_path / "ours.safetensors")
    assert tiny_digits.losses(tmp_path / "one") == tiny_digits.losses(tmp_path / "two")
    distil(tmp_path / "three", tiny_digits.save(tmp_path / "other.safetensors", seed=4))  # the control
    assert tiny_digits.losses(tmp_path / "one") != tiny_digits.losses(tmp_path / "three")


def test_a_run_that_began_goes_on_with_what_it_adopted_and_refuses_another_file(pth, tmp_path):
    own, run = tmp_path / "t.pth", tmp_path / "run"
    shutil.copy(pth, own)
    config = reader.read(DistillConfig, words(run, own), prog="x", description="x")
    folder, accelerator = RunDir.at(str(run)), make_accelerator("float32")
    adopted = on_the_fly.adopted(config, accelerator, folder)
    content = (run / TEACHER).read_bytes()
    (run / "checkpoints" / "step-1").mkdir(parents=True)  # work has begun
    assert on_the_fly.adopted(config, accelerator, folder) == adopted
    assert (run / TEACHER).read_bytes() == content
    other, _ = tiny_digits.network(seed=9)
    torch.save(other.state_dict(), own)
    with pytest.raises(InputError, match=r"t\.pth is not the file that the run in .* began with"):
        on_the_fly.adopted(config, accelerator, folder)
    own.unlink()
    assert on_the_fly.adopted(config, accelerator, folder).teacher == str(run / TEACHER)
    shutil.rmtree(run / "checkpoints")  # the control: nothing has begun, so the new file is taken
    torch.save(other.state_dict(), own)
    on_the_fly.adopted(config, accelerator, folder)
    assert artefact.read_card(run / TEACHER).lineage[ORIGIN_SHA] == artefact.sha256(own)


def test_training_starts_from_a_state_dict_with_a_new_last_layer(tmp_path):
    net, _ = tiny_digits.network(seed=3, classes=7)
    torch.save(net.state_dict(), tmp_path / "seven.pt")
    options = ["--model.name", str(tmp_path / "seven.pt"), "--model.depth", "null", "--model.widths", "null"]
    base = ["--config", str(tiny_digits.DIGITS / "teacher.yaml"), "--run_dir", str(tmp_path / "run")]
    more = [*tiny_digits.SMALL_DATA, "--epochs", "1", "--test", "false", "--track.pictures", "false"]
    config = reader.read(TeacherConfig, [*base, *options, *more], prog="x", description="x")
    run_stage(config, "teacher")
    start, card = artefact.load(tmp_path / "run" / STUDENT)
    assert torch.equal(start.layer1[0].conv1.weight, net.layer1[0].conv1.weight) and start.fc.weight.shape == (10, 8)
    assert card.model == ModelSpec(name="resnet_small", depth=8, widths=(4, 8, 8))
    assert artefact.read_card(tmp_path / "run" / "model.safetensors").model == card.model


def test_a_file_takes_no_setting_but_the_stem(pth, tmp_path):
    config = reader.read(DistillConfig, words(tmp_path, pth), prog="x", description="x")
    with pytest.raises(UsageError, match="takes no further setting but stem"):
        spec = ModelSpec(name=str(pth), depth=8)
        on_the_fly.student(spec, config.data, RunDir.at(str(tmp_path)), seed=0)


def test_a_cache_that_was_filled_with_it_serves_other_runs(pth, tmp_path):
    options = ["--views", "1", "--distill.cache", str(tmp_path / "cache"), "--distill.store", "float32"]
    filling = words(tmp_path / "filling", pth, *options)
    caching.run(reader.read(CacheConfig, filling, prog="x", description="x"))
    distil(tmp_path / "cached", pth, *options, "--distill.teacher_logits", "cached")
    distil(tmp_path / "online", pth, *options)
    assert tiny_digits.losses(tmp_path / "cached") == tiny_digits.losses(tmp_path / "online")


def test_a_file_of_ours_is_left_where_it_is(tmp_path):
    ours = tiny_digits.save(tmp_path / "ours.safetensors")
    config = reader.read(DistillConfig, words(tmp_path / "run", ours), prog="x", description="x")
    assert on_the_fly.adopted(config, make_accelerator("float32"), RunDir.at(str(tmp_path / "run"))) is config
    assert on_the_fly.at_hand(str(ours), config.data, make_accelerator("float32"), str(tmp_path / "h")) == str(ours)


def test_without_a_check_nothing_is_measured(pth, tmp_path):
    config = reader.read(DistillConfig, words(tmp_path / "run", pth), prog="x", description="x")
    config = replace(config, distill=replace(config.distill, teacher_check=0))
    on_the_fly.adopted(config, make_accelerator("float32"), RunDir.at(str(tmp_path / "run")))
    assert not artefact.read_card(tmp_path / "run" / TEACHER).scores
