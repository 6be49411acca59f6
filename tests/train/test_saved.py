"""A saved network is shown images as it was in training."""

from dataclasses import replace

import pytest
import torch

import tiny_digits
from data_pipes.spec import DataSpec
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
