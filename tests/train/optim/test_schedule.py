"""The learning rate of every step, against the formula and against timm's."""

import math
from itertools import pairwise

import pytest
import torch
from timm.scheduler import CosineLRScheduler, StepLRScheduler

from train.config import OptimSpec
from train.optim.schedule import build_schedule

EPOCHS, STEPS = 5, 8
TOTAL = EPOCHS * STEPS


def optimizer() -> torch.optim.Optimizer:
    groups = [{"params": [torch.zeros(1, requires_grad=True)]}, {"params": [torch.zeros(1, requires_grad=True)]}]
    return torch.optim.SGD(groups, lr=0.4)


def rates(spec: OptimSpec, steps=range(TOTAL)) -> list[float]:
    made = optimizer()
    schedule = build_schedule(spec, made, epochs=EPOCHS, steps_per_epoch=STEPS)
    found = []
    for step in steps:
        schedule.step_update(step)
        assert len({group["lr"] for group in made.param_groups}) == 1
        found.append(made.param_groups[0]["lr"])
    return found


def theirs(schedule, steps: int) -> list[float]:
    found = []
    for step in range(steps):
        schedule.step_update(step)
        found.append(schedule.optimizer.param_groups[0]["lr"])
    return found


@pytest.mark.parametrize("warmup", [0, 1, 12])
def test_the_same_numbers_as_timm(warmup):
    shared = {"warmup_t": warmup, "warmup_lr_init": 0.4 / max(warmup, 1), "t_in_epochs": False}
    spec = OptimSpec(lr=0.4, min_lr=0.004, warmup_epochs=warmup / STEPS)
    cosine = CosineLRScheduler(optimizer(), t_initial=TOTAL - warmup, lr_min=0.004, warmup_prefix=True, **shared)
    assert rates(spec, range(TOTAL + 3)) == pytest.approx(theirs(cosine, TOTAL + 3), rel=1e-14)
    spec = OptimSpec(lr=0.4, schedule="step", step_epochs=1.5, step_factor=0.3, warmup_epochs=warmup / STEPS)
    steps = StepLRScheduler(optimizer(), decay_t=12, decay_rate=0.3, **shared)
    assert rates(spec) == pytest.approx(theirs(steps, TOTAL), rel=1e-14)


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
def test_resumed_at_any_step_the_rate_is_the_same(schedule):
    spec = OptimSpec(lr=0.4, schedule=schedule, warmup_epochs=1.0, step_epochs=2.0)
    whole = rates(spec)
    for start in (1, 7, 8, 9, 20, TOTAL - 1):
        assert rates(spec, range(start, TOTAL)) == whole[start:]


@pytest.mark.parametrize("schedule", ["cosine", "step", "constant"])
def test_a_warm_up_longer_than_the_run_is_all_there_is(schedule):
    rate = rates(OptimSpec(lr=0.4, schedule=schedule, warmup_epochs=100.0))
    assert all(a < b < 0.4 for a, b in pairwise(rate))
