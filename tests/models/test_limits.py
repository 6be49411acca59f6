"""Cards that ask for a giant: refused before its memory is touched."""

from dataclasses import asdict, replace

import pytest
import torch
from torch import nn

from configs.errors import InputError
from models import artefact, artefact_file, limits
from models.artefact import Card
from models.counting import measure
from models.networks.architectures import build
from models.spec import ModelSpec

SIZE = (3, 32, 32)


@pytest.fixture
def small(tmp_path):
    spec = ModelSpec(name="resnet_small", widths=(4, 4, 4), depth=8)
    net = build(spec, num_classes=2, input_CHW=SIZE)
    normal = {"mean": (0.5,) * 3, "std": (0.2,) * 3, "eval_crop": 1.0}
    return net, Card(model=spec, classes=("a", "b"), input_CHW=SIZE, cost=measure(net, SIZE), **normal)


def forged(path, net, card, **model):
    """A file with a card that asks for another network, and a digest that is right for it."""
    fields = asdict(card)
    fields["model"] |= model
    path.write_bytes(artefact_file.compose(fields, net.state_dict()))
    return path


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"widths": (60_000, 60_000, 60_000)}, "far larger than the .* tensors of the file"),
        ({"depth": 6_000_002}, "depth is 6000002"),
        ({"depth": 9_998}, "far larger than"),
        ({"name": "timm/vit_giant_patch14_224", "widths": None, "depth": None}, "far larger than"),
    ],
    ids=["wide", "deep", "allowed depth", "another network"],
)
@pytest.mark.parametrize("pruned", [False, True])
def test_a_giant_is_refused(small, tmp_path, model, message, pruned):
    net, card = small
    if pruned and (model.get("depth") == 9_998):
        return  # a cut could have left so little
    path = forged(tmp_path / "m.safetensors", net, replace(card, pruned=pruned), **model)
    with pytest.raises(InputError, match=message) as error:
        artefact.load(path)
    assert "m.safetensors" in str(error.value)


def test_an_absurd_image_is_refused(small, tmp_path):
    net, card = small
    content = artefact_file.compose(asdict(card) | {"input_CHW": [3, 32, 10**9]}, net.state_dict())
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(InputError, match="input_CHW is"):
        artefact.load(tmp_path / "m.safetensors")


def test_only_this_thread_and_only_inside_is_counted(small):
    net, _ = small
    with limits.within_reach(net.state_dict(), pruned=False):
        nn.Linear(100, 100)
        with pytest.raises(InputError, match="far larger"), torch.device("meta"):
            nn.Linear(10_000, 10_000)
    with torch.device("meta"):
        nn.Linear(10_000, 10_000)
