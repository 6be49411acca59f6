"""Tensors by name alone come back into networks whose layers have versions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import tiny_digits
from models import artefact, counting, state_dicts, zoo
from models.artefact import Card
from models.spec import ModelSpec


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return zoo.build(ModelSpec(name="torchvision/mnasnet0_5"), num_classes=3, input_CHW=(3, 32, 32)).eval()


def test_plain_tensors_come_back_into_a_network_that_asks_for_its_version() -> None:
    saved, other = network(0), network(1)
    plain = {name: tensor.clone() for name, tensor in saved.state_dict().items()}
    with pytest.raises(ValueError, match="version should be set"):  # the control: what torch does without help
        other.load_state_dict(plain)
    state_dicts.load(other, plain)
    image_BCHW = torch.randn(2, 3, 32, 32)
    assert torch.equal(other(image_BCHW), saved(image_BCHW))


def test_inside_another_module_too() -> None:
    """As a student inside the module that is trained."""
    saved, other = nn.ModuleDict({"net": network(0)}), nn.ModuleDict({"net": network(1)})
    state_dicts.load(other, dict(saved.state_dict()))
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in saved.state_dict().items())


def test_what_does_not_fit_is_refused() -> None:
    net = nn.Linear(2, 3)
    for wrong in ({"weight": torch.zeros(3, 2)}, {"weight": torch.zeros(3, 3), "bias": torch.zeros(3)}):
        with pytest.raises(RuntimeError, match="Error"):
            state_dicts.load(net, wrong)


def test_the_digest_of_a_network_is_that_of_its_file_and_of_no_other(tmp_path: Path) -> None:
    net, spec = tiny_digits.network(0)
    with torch.no_grad():
        net.conv1.weight[0] = -0.0  # the file has zeros as bits
    own = {"mean": (0.5,), "std": (0.5,), "eval_crop": 1.0, "cost": counting.measure(net, (1, 8, 8))}
    card = Card(model=spec, classes=tiny_digits.CLASSES, input_CHW=(1, 8, 8), **own)
    artefact.save(tmp_path / "net.safetensors", net, card)
    known = state_dicts.digest(net)
    assert state_dicts.digest(artefact.load(tmp_path / "net.safetensors")[0]) == known
    assert state_dicts.digest(net.double().to(memory_format=torch.channels_last)) == known
    with torch.no_grad():
        net.fc.bias[0] += 1e-3
    assert state_dicts.digest(net) != known
    assert state_dicts.digest(nn.Linear(2, 3)) != state_dicts.digest(nn.Linear(3, 2))
