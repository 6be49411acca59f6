"""A saved network is shown images as it was in training."""

import os
from dataclasses import replace

import pytest
import torch

import tiny_digits
from configs.errors import InputError
from data_pipes.spec import DataSpec
from models import artefact
from train import saved

DATA = DataSpec(source="digits", image_size=(20, 24), mean=(0.1,), std=(0.9,), eval_crop=0.5, threads=1)


def test_size_crop_and_normalisation_are_the_networks_own_and_the_rest_stays(tmp_path):
    path = tiny_digits.save(tmp_path / "model.safetensors")
    for weights in (None, str(path)):
        net, card, data = saved.load(str(tmp_path), weights, DATA)
        assert data == replace(DATA, image_size=(8, 8), mean=(0.5,), std=(0.5,), eval_crop=1.0)
        assert card.classes == tiny_digits.CLASSES and net(torch.zeros(1, 1, 8, 8)).shape == (1, 10)


@pytest.mark.parametrize(
    ("config", "size"),
    [
        (None, "student"),
        ("epochs: 1", "student"),
        ("distill: {teacher_size: own}", "own"),
        ("distill: {alpha: 0.5}", "student"),
        ("student: {distill: {teacher_size: own}}", "own"),
        ("student: {distill: {teacher_size: own}}\ncut: {distill: null}", "own"),
        ("student: {distill: {teacher_size: own}}\ncut: {distill: {teacher_size: student}}", "student"),
    ],
)
def test_the_teachers_size_is_that_of_the_run_or_of_the_chains_last_stage(tmp_path, config, size):
    if config is not None:
        (tmp_path / "config.yaml").write_text(config)
    assert saved.teacher_size(str(tmp_path)) == size


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path, value, monkeypatch):
    path = tiny_digits.save(tmp_path / "model.safetensors")
    net, card = artefact.load(path)
    saved.load(None, str(path), DATA)  # negative control
    net.fc.bias.data[3] = value
    monkeypatch.setattr(artefact, "load", lambda path: (net, card))  # today's files cannot be written with a NaN
    with pytest.raises(InputError, match=r"model.safetensors: fc.bias has NaN or infinite entries"):
        saved.load(None, str(path), DATA)


def test_the_data_of_a_run_is_told_from_other_data(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(f"data: {{source: folder, root: {os.path.relpath(tmp_path)}/pets}}")
    here = replace(DATA, source="folder", root=str(tmp_path / "pets"))
    assert saved.own_data(str(tmp_path), here) is True
    assert saved.own_data(str(tmp_path), replace(here, root=str(tmp_path / "others"))) is False
    assert saved.own_data(str(tmp_path), replace(here, source="food11")) is False
    assert saved.own_data(None, here) is False
    config.unlink()
    assert saved.own_data(str(tmp_path), here) is None
