"""What is trained: tapped layers in the order of the pairs, adapters with gradients, examples that change nothing."""

# B batch, C channels, H W height and width

import copy

import pytest
import torch
from torch import nn

from configs.errors import UsageError
from models.networks.resnet import resnet_small
from train.loss import losses
from train.loss.adapters import Adapters
from train.student import Student, example_features

IMAGE_BCHW = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def net():
    torch.manual_seed(0)
    return resnet_small(num_classes=3, input_CHW=(1, 16, 16), widths=(2, 4, 8), depth=8)


@pytest.mark.parametrize("layers", [("layer1", "layer3"), ("layer3", "layer1"), ("layer3", "layer3")])
def test_features_come_in_the_order_of_the_pairs(layers):
    model = net().eval()
    logits_BK, features_L, adapted_L = Student(model, layers, None)(IMAGE_BCHW)
    maps = {"layer1": (4, 2, 16, 16), "layer3": (4, 8, 4, 4)}
    assert [tuple(x.shape) for x in features_L] == [maps[name] for name in layers]
    assert torch.equal(logits_BK, model(IMAGE_BCHW)) and adapted_L == []


def test_without_layers_only_logits_come_out():
    logits_BK, features_L, adapted_L = Student(net(), (), None)(IMAGE_BCHW)
    assert logits_BK.shape == (4, 3) and features_L == [] == adapted_L


def test_adapters_and_the_layers_before_them_get_gradients():
    model = net()
    theirs = [torch.randn(4, 5, 8, 8), torch.randn(4, 6, 4, 4)]
    layers = ("layer2", "layer3")
    student = Student(model, layers, Adapters.fitting(example_features(model, layers, IMAGE_BCHW), theirs))
    _, _, adapted_L = student(IMAGE_BCHW)
    assert [x.shape[1] for x in adapted_L] == [5, 6]
    sum(losses.hint(s, t).mean() for s, t in zip(adapted_L, theirs, strict=True)).backward()
    missing = {name for name, p in student.named_parameters() if p.grad is None or not p.grad.any()}
    assert missing == {"net.fc.weight", "net.fc.bias"}


def test_features_that_only_adapters_need_are_not_returned():
    model = net()
    adapters = Adapters([(8, 5)])
    whole, spare = (Student(model, ("layer3",), adapters, own_features=own)(IMAGE_BCHW) for own in (True, False))
    assert len(whole[1]) == 1 and spare[1] == []
    assert torch.equal(whole[2][0], spare[2][0])


def test_adapters_belong_to_the_student_and_not_to_the_network():
    model = net()
    student = Student(model, ("layer3",), Adapters([(8, 5)]))
    assert [name for name in student.state_dict() if "adapters" in name] == ["adapters.convolutions.0.weight"]
    assert not any("adapters" in name for name in model.state_dict())
    assert len(list(student.parameters())) == len(list(model.parameters())) + 1


def test_a_layer_that_is_not_there_is_named():
    with pytest.raises(UsageError, match="no layer 'layer4'; did you mean layer"):
        Student(net(), ("layer4",), None)


@pytest.mark.parametrize("training", [True, False])
def test_example_features_change_neither_statistics_nor_mode_nor_hooks(training):
    model = net().train(training)
    before = copy.deepcopy(model.state_dict())
    random = torch.get_rng_state()
    features = example_features(model, ("layer3", "layer1"), IMAGE_BCHW)
    assert [x.shape[1] for x in features] == [8, 2] and not any(x.requires_grad for x in features)
    assert all(module.training == training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert not any(module._forward_hooks for module in model.modules())
    assert all(p.grad is None for p in model.parameters())


def test_example_features_put_back_the_mode_of_each_module_on_its_own():
    model = net().train()
    model.bn1.eval()  # such as a frozen norm
    example_features(model, ("layer1",), IMAGE_BCHW)
    assert model.training and not model.bn1.training


def test_an_error_in_the_forward_leaves_mode_and_hooks_as_they_were():
    model = net().train()
    with pytest.raises(RuntimeError):
        example_features(model, ("layer1",), torch.zeros(2, 3, 16, 16))
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_second_pass_over_a_tapped_network_does_not_disturb_the_first():
    model = net().eval()
    student = Student(model, ("layer1",), None)
    expected = student(IMAGE_BCHW)[1][0]
    example_features(model, ("layer1",), torch.zeros(2, 1, 16, 16))
    assert torch.equal(student(IMAGE_BCHW)[1][0], expected)
    assert isinstance(student, nn.Module)
