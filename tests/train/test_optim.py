"""Who is decayed, and the learning rate of every step against the formula."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from configs.errors import InputError
from models.networks.resnet import resnet_small
from train.config import OptimSpec
from train.loss.adapters import Adapters
from train.optim import build_optimizer, build_schedule, load_named_state, named_state
from train.student import Student

EPOCHS, STEPS = 5, 8
TOTAL = EPOCHS * STEPS


def net():
    return resnet_small(num_classes=3, input_CHW=(1, 16, 16), widths=(2, 4, 8), depth=8)


def rates(spec: OptimSpec, steps=range(TOTAL)) -> list[float]:
    optimizer = build_optimizer(spec, net())
    schedule = build_schedule(spec, optimizer, epochs=EPOCHS, steps_per_epoch=STEPS)
    found = []
    for step in steps:
        schedule.step_update(step)
        assert len({group["lr"] for group in optimizer.param_groups}) == 1
        found.append(optimizer.param_groups[0]["lr"])
    return found


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


# ---- schedules


def cosine(step: int, lr: float, low: float, warmup: int) -> float:
    if step < warmup:  # from lr / warmup in steps of lr (1 - 1 / warmup) / warmup
        return lr / warmup + step * (lr - lr / warmup) / warmup
    return low + 0.5 * (lr - low) * (1 + math.cos(math.pi * (step - warmup) / (TOTAL - warmup)))


@pytest.mark.parametrize(("warmup_epochs", "warmup"), [(0.0, 0), (1.5, 12)])
def test_every_step_of_cosine_is_the_formula(warmup_epochs, warmup):
    spec = OptimSpec(lr=0.4, min_lr=0.004, warmup_epochs=warmup_epochs)
    assert rates(spec) == pytest.approx([cosine(step, 0.4, 0.004, warmup) for step in range(TOTAL)], rel=1e-12)


def test_cosine_at_its_landmarks():
    spec = OptimSpec(lr=0.4, min_lr=0.004, warmup_epochs=1.0)
    rate = rates(spec, range(TOTAL + 1))
    assert rate[0] == pytest.approx(0.4 / 8)
    assert all(a < b for a, b in pairwise(rate[:9])), "warm-up rises"
    assert rate[8] == max(rate) == 0.4
    assert rate[8 + 16] == pytest.approx((0.4 + 0.004) / 2), "the middle of what follows the warm-up"
    assert all(a > b for a, b in pairwise(rate[8:])), "cosine falls"
    assert rate[TOTAL] == 0.004 and rate[TOTAL - 1] < 0.004 + 0.4 * 0.01


def test_step_drops_every_so_many_epochs():
    rate = rates(OptimSpec(lr=1.0, schedule="step", step_epochs=2.0, step_factor=0.1))
    assert rate == pytest.approx([1.0] * 16 + [0.1] * 16 + [0.01] * 8)


def test_step_counts_its_epochs_from_the_end_of_the_warm_up():
    rate = rates(OptimSpec(lr=1.0, schedule="step", step_epochs=2.0, step_factor=0.1, warmup_epochs=1.0))
    assert rate[0] == pytest.approx(1 / 8)
    assert rate[8:] == pytest.approx([1.0] * 16 + [0.1] * 16)


def test_constant_never_changes_but_for_its_warm_up():
    assert rates(OptimSpec(lr=0.3, schedule="constant", step_epochs=1.0)) == [0.3] * TOTAL
    warm = rates(OptimSpec(lr=0.3, schedule="constant", warmup_epochs=1.0))
    assert warm[0] == pytest.approx(0.3 / 8) and warm[8:] == [0.3] * (TOTAL - 8)


@pytest.mark.parametrize("schedule", ["cosine", "step", "constant"])
@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_resumed_at_any_step_the_rate_is_the_same(name, schedule):
    spec = OptimSpec(name=name, lr=0.4, schedule=schedule, warmup_epochs=1.0, step_epochs=2.0)
    whole = rates(spec)
    for start in (1, 7, 8, 9, 20, TOTAL - 1):
        assert rates(spec, range(start, TOTAL)) == whole[start:]


@pytest.mark.parametrize("schedule", ["cosine", "step", "constant"])
def test_a_warm_up_longer_than_the_run_is_all_there_is(schedule):
    rate = rates(OptimSpec(lr=0.4, schedule=schedule, warmup_epochs=100.0))
    assert all(a < b < 0.4 for a, b in pairwise(rate))


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
