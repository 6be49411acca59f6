"""Who is decayed, and the state of an optimizer by name."""

import copy

import pytest
import torch
from torch import nn

from configs.errors import InputError
from models.networks.resnet import resnet_small
from train.config import OptimSpec
from train.loss.adapters import Adapters
from train.optim.optimizer import build_optimizer, load_named_state, named_state
from train.student import Student


def net():
    return resnet_small(num_classes=3, input_CHW=(1, 16, 16), widths=(2, 4, 8), depth=8)


# ---- optimizers


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_biases_and_norms_are_not_decayed_and_all_else_is(name):
    student = Student(net(), ("layer3",), Adapters([(8, 5)]))
    optimizer = build_optimizer(OptimSpec(name=name, weight_decay=0.1), student)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert len(decay) == len(list(student.parameters()))
    for module in student.modules():
        for key, parameter in module.named_parameters(recurse=False):
            kernel = key == "weight" and isinstance(module, (nn.Conv2d, nn.Linear))
            assert decay[id(parameter)] == (0.1 if kernel else 0.0)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_an_undecayed_parameter_stands_still_without_a_gradient(name):
    model = net()
    with torch.no_grad():
        model.fc.bias.fill_(1.0)
    optimizer = build_optimizer(OptimSpec(name=name, weight_decay=0.5, lr=0.1), model)
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    moved = {key for key, p in model.named_parameters() if not torch.equal(p, before[key])}
    assert moved == {key for key, p in model.named_parameters() if p.ndim > 1}
    if name == "adamw":  # decoupled: by lr times decay, whatever the gradient
        torch.testing.assert_close(model.fc.weight, before["fc.weight"] * (1 - 0.1 * 0.5))


def test_settings_arrive():
    sgd = build_optimizer(OptimSpec(name="sgd", lr=0.5, momentum=0.8), net())
    assert isinstance(sgd, torch.optim.SGD)
    assert (sgd.defaults["lr"], sgd.defaults["momentum"], sgd.defaults["nesterov"]) == (0.5, 0.8, True)
    plain = build_optimizer(OptimSpec(name="sgd", momentum=0.0), net())
    assert plain.defaults["nesterov"] is False
    adamw = build_optimizer(OptimSpec(lr=0.5, momentum=0.8), net())
    assert isinstance(adamw, torch.optim.AdamW)
    assert (adamw.defaults["lr"], adamw.defaults["betas"]) == (0.5, (0.8, 0.999))


def test_frozen_parameters_are_left_out():
    model = net()
    model.conv1.requires_grad_(False)
    owned = {id(p) for group in build_optimizer(OptimSpec(), model).param_groups for p in group["params"]}
    assert id(model.conv1.weight) not in owned and len(owned) == len(list(model.parameters())) - 1


# ---- momentum in fused kernels


class FusedSGD(torch.optim.SGD):
    """As `build_optimizer` makes it for a GPU; torch has the kernel for the CPU, too."""

    def __init__(self, groups, **settings) -> None:
        super().__init__(groups, **settings | {"fused": True})


@pytest.fixture
def uninitialised_memory_is_nan(monkeypatch):
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("filled", [True, False])
def test_a_first_update_that_overflows_leaves_the_momentum_zero(monkeypatch, uninitialised_memory_is_nan, filled):
    """It is usual in fp16: a GradScaler begins with 65536. The control has the buffers that torch itself makes."""
    monkeypatch.setattr(torch.optim, "SGD", FusedSGD)
    spec, module = OptimSpec(name="sgd", lr=0.1, weight_decay=0.0), net()
    optimizer, before = build_optimizer(spec, module), copy.deepcopy(module.state_dict())
    if not filled:
        optimizer.state.clear()
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.grad_scale, optimizer.found_inf = torch.ones(()), torch.ones(())
    optimizer.step()
    assert all(torch.equal(parameter, before[name]) for name, parameter in module.named_parameters())
    optimizer.found_inf = torch.zeros(())
    optimizer.step()
    assert filled == all(bool(parameter.isfinite().all()) for parameter in module.parameters())
    if filled:  # Nesterov's first update: the gradient, and the momentum that it makes
        torch.testing.assert_close(module.fc.weight, before["fc.weight"] - 0.1 * (1 + spec.momentum))


def test_a_parameter_that_a_state_lacks_begins_with_momentum_zero(monkeypatch):
    """As an adapter that begins anew after a cut. The control: a fused kernel refuses to make one buffer alone."""
    monkeypatch.setattr(torch.optim, "SGD", FusedSGD)
    module, optimizer = stepped(OptimSpec(name="sgd"))
    saved = named_state(optimizer, module)
    load_named_state(optimizer, module, {name: values for name, values in saved.items() if name != "fc.bias"})
    assert torch.equal(optimizer.state[module.fc.bias]["momentum_buffer"], torch.zeros(3))
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert torch.equal(optimizer.state[module.fc.bias]["momentum_buffer"], torch.ones(3))
    del optimizer.state[module.fc.bias]
    with pytest.raises(TypeError):
        optimizer.step()


# ---- state by name


def stepped(spec: OptimSpec) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    module = net()
    optimizer = build_optimizer(spec, module)
    for seed in range(2):
        torch.manual_seed(seed)
        module(torch.randn(4, 1, 16, 16)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return module, optimizer


@pytest.mark.parametrize("spec", [OptimSpec(), OptimSpec(name="sgd"), OptimSpec(name="sgd", momentum=0.0)], ids=str)
def test_state_finds_its_parameter_whatever_the_order_of_the_optimizer(spec):
    """The same parameters in one group, backwards: by number, each would get another's moments."""
    module, optimizer = stepped(spec)
    saved = named_state(optimizer, module)
    assert len(saved) == (len(list(module.parameters())) if spec.momentum else 0)
    backwards = type(optimizer)(reversed(list(module.parameters())), lr=0.5)
    load_named_state(backwards, module, saved)
    assert backwards.param_groups[0]["lr"] == 0.5
    again = named_state(backwards, module)
    assert again.keys() == saved.keys()
    for name, values in saved.items():
        assert values.keys() == again[name].keys()
        assert all(torch.equal(value, again[name][key]) for key, value in values.items()), name


def test_state_of_an_unknown_parameter_or_another_shape_is_refused():
    module, optimizer = stepped(OptimSpec())
    saved = named_state(optimizer, module)
    with pytest.raises(InputError, match=r"parameter gone\.weight, which the network does not train"):
        load_named_state(optimizer, module, saved | {"gone.weight": saved["fc.weight"]})
    short = {key: value[:1] if value.ndim else value for key, value in saved["fc.weight"].items()}
    with pytest.raises(InputError, match=r"exp_avg of fc\.weight has shape \(1, 8\); the parameter's is \(3, 8\)"):
        load_named_state(optimizer, module, saved | {"fc.weight": short})
