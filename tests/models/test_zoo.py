import copy
import json
from dataclasses import asdict, replace

import pytest
import torch

from configs.errors import InputError, UsageError
from models import artefact, cost, counting
from models.artefact import Card
from models.pruning import planner, surgery
from models.pruning.spec import Budget, PruneSpec
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
    with pytest.raises(InputError, match="has 3 classes, but 10 are needed"):
        build(ModelSpec(name=str(path)), num_classes=10, input_CHW=SIZE)
    with pytest.raises(InputError, match="has 1 input channels, but 3 are needed"):
        build(ModelSpec(name=str(path)), num_classes=3, input_CHW=(3, 28, 28))


def test_a_saved_file_has_its_shape_already(saved):
    with pytest.raises(UsageError, match="takes no further setting"):
        build(ModelSpec(name=str(saved[0]), depth=8), num_classes=3, input_CHW=SIZE)


def test_cost_reads_classes_and_size_from_a_saved_file(saved, capsys):
    assert cost.main(["--model", str(saved[0]), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == asdict(saved[2].cost)


# ---- from scratch


@pytest.fixture
def pruned(saved, tmp_path):
    """The saved network after half of it was cut, with BatchNorm statistics of its own."""
    _, net, card = saved
    net = copy.deepcopy(net)
    net(torch.randn(8, *SIZE))
    spec = PruneSpec(budget=Budget(parameters=card.cost.parameters // 2), steps=1)
    surgery.apply(net, planner.plan_cut(net, SIZE, spec.budget, spec))
    path = tmp_path / "p.safetensors"
    artefact.save(path, net, replace(card, pruned=True, cost=counting.measure(net, SIZE)))
    return path, net


def anew(path, seed):
    torch.manual_seed(seed)
    return build(ModelSpec(name=str(path), from_scratch=True), num_classes=3, input_CHW=SIZE)


def shapes(net):
    return {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}


def matrices(net):
    return [parameter for parameter in net.parameters() if parameter.ndim > 1]


def test_from_scratch_takes_the_shapes_of_a_pruned_file_and_nothing_else(pruned):
    path, net = pruned
    fresh = anew(path, 0)
    assert fresh.training
    assert shapes(fresh) == shapes(net)
    assert counting.measure(fresh, SIZE) == counting.measure(net, SIZE)
    assert not any(torch.equal(own, other) for own, other in zip(matrices(fresh), matrices(net), strict=True))
    for name, buffer in fresh.named_buffers():
        assert torch.equal(buffer, torch.ones_like(buffer) if "var" in name else torch.zeros_like(buffer)), name
    assert bool(net.bn1.running_mean.any())  # the control: the file has other statistics


def test_its_weights_come_from_the_seed(pruned):
    one, again, other = (anew(pruned[0], seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(value, again[name]) for name, value in one.items())
    assert not torch.equal(one["conv1.weight"], other["conv1.weight"])


def test_a_file_that_was_not_pruned_is_drawn_as_its_architecture_is(saved):
    path, _, card = saved
    fresh = anew(path, 4)
    torch.manual_seed(4)
    named = build(card.model, num_classes=3, input_CHW=SIZE).state_dict()
    assert all(torch.equal(value, named[name]) for name, value in fresh.state_dict().items())


def test_from_scratch_still_checks_the_file_against_the_data(pruned):
    spec = ModelSpec(name=str(pruned[0]), from_scratch=True)
    with pytest.raises(InputError, match="has 3 classes, but 10 are needed"):
        build(spec, num_classes=10, input_CHW=SIZE)
    with pytest.raises(InputError, match="has 1 input channels, but 3 are needed"):
        build(spec, num_classes=3, input_CHW=(3, 28, 28))


@pytest.mark.parametrize("setting", [{"depth": 8}, {"widths": (4, 5, 6)}, {"dropout": 0.1}, {"pretrained": True}])
def test_from_scratch_takes_no_further_setting(pruned, setting):
    spec = ModelSpec(name=str(pruned[0]), from_scratch=True, **setting)
    with pytest.raises(UsageError, match="takes no further setting, such as depth or widths"):
        build(spec, num_classes=3, input_CHW=SIZE)


@pytest.mark.parametrize("name", ["resnet_small", "timm/resnet10t", "m.safetensors.bak"])
def test_from_scratch_is_for_files(name):
    with pytest.raises(UsageError, match=f"from_scratch is for saved .safetensors files; {name} has new weights"):
        ModelSpec(name=name, from_scratch=True)


def test_a_state_dict_from_elsewhere_is_built_with_its_weights(tmp_path):
    spec = ModelSpec(name="resnet_small", widths=(4, 5, 6), depth=8)
    net = build(spec, num_classes=3, input_CHW=SIZE)
    torch.save({"model": net.state_dict()}, tmp_path / "n.pth")
    again = build(ModelSpec(name=str(tmp_path / "n.pth")), num_classes=3, input_CHW=SIZE)
    assert again.training and torch.equal(again.fc.weight, net.fc.weight)
    with pytest.raises(InputError, match="has 3 classes, but 4 are needed here"):
        build(ModelSpec(name=str(tmp_path / "n.pth")), num_classes=4, input_CHW=SIZE)
    with pytest.raises(UsageError, match="takes no further setting"):
        build(ModelSpec(name=str(tmp_path / "n.pth"), depth=8), num_classes=3, input_CHW=SIZE)
