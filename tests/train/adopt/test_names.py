"""What is ours, and what comes from elsewhere."""

import torch
from safetensors.torch import save_file

import tiny_digits
from models.spec import ModelSpec
from train.adopt.names import foreign, foreign_network


def test_files_of_ours_are_told_by_their_header(tmp_path):
    ours = tiny_digits.save(tmp_path / "ours.safetensors")
    save_file({"w": torch.ones(2, 2)}, tmp_path / "theirs.safetensors")
    assert not foreign(str(ours)) and foreign(str(tmp_path / "theirs.safetensors")) and foreign("teacher.ckpt")
    assert not foreign_network(ModelSpec(name=str(ours))) and foreign_network(ModelSpec(name="net.pth"))


def test_a_library_s_name_is_published_weights_for_a_teacher_and_an_untrained_network_for_a_student():
    for name in ("timm/resnet18", "torchvision/resnet18"):
        assert foreign(name) and not foreign_network(ModelSpec(name=name))
    assert foreign("hf-hub:timm/resnet18") and foreign_network(ModelSpec(name="hf-hub:timm/resnet18"))
