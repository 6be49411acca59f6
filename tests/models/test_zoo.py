import json
from dataclasses import asdict

import pytest
import torch

from configs.errors import InputError, UsageError
from models import artefact, cost, counting
from models.artefact import Card
from models.spec import ModelSpec
from models.zoo import build

SIZE = (1, 28, 28)


@pytest.fixture
def saved(tmp_path):
    spec = ModelSpec(name="resnet_small", widths=(4, 5, 6), depth=8)
    net = build(spec, num_classes=3, input_CHW=SIZE)
    card = Card(
        model=spec,
        classes=("bag", "boot", "coat"),
        input_CHW=SIZE,
        mean=(0.1307,),
        std=(1 / 3,),
        eval_crop=1.0,
        cost=counting.measure(net, SIZE),
    )
    artefact.save(tmp_path / "m.safetensors", net, card)
    return tmp_path / "m.safetensors", net, card


def test_an_architecture_by_name():
    assert build(ModelSpec(name="nin"), num_classes=10, input_CHW=(3, 32, 32)).training


def test_a_saved_file_is_taken_and_checks_it_against_the_data(saved):
    path, net, _ = saved
    again = build(ModelSpec(name=str(path)), num_classes=3, input_CHW=SIZE)
    assert again.training
    assert torch.equal(again.fc.weight, net.fc.weight)
    with pytest.raises(InputError, match="has 3 classes, but 10 are wanted"):
        build(ModelSpec(name=str(path)), num_classes=10, input_CHW=SIZE)
    with pytest.raises(InputError, match="has 1 input channels, but 3 are wanted"):
        build(ModelSpec(name=str(path)), num_classes=3, input_CHW=(3, 28, 28))


def test_a_saved_file_has_its_shape_already(saved):
    with pytest.raises(UsageError, match="takes no further setting"):
        build(ModelSpec(name=str(saved[0]), depth=8), num_classes=3, input_CHW=SIZE)


def test_cost_reads_classes_and_size_from_a_saved_file(saved, capsys):
    assert cost.main(["--model", str(saved[0]), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == asdict(saved[2].cost)
