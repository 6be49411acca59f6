"""One update: micro-batches add up to the global batch, dropout comes from its place, gradients are clipped."""

# B batch, K classes

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch
from accelerate import Accelerator
from torch import nn

import reference
from cpu_loader import cpu_loader
from data_pipes.batch import Batch
from data_pipes.loader import Layout, PlanLoader
from data_pipes.spec import AugmentSpec, DataSpec
from fake_gpu import CUDA, fake_gpu
from models.artefact import Card
from models.counting import measure
from models.networks.resnet import resnet_small
from models.pruning.masks import Masks
from models.spec import ModelSpec
from train.live_teacher import LiveTeacher
from train.loss.adapters import Adapters
from train.loss.config import DistillSpec
from train.loss.objective import Objective
from train.step import Step, right, seed_generators
from train.student import Signals, Student

CPU = torch.device("cpu")
SPEC = DataSpec(
    source="digits", image_size=(8, 8), mean=(0.3,), std=(0.4,), threads=1, augment=AugmentSpec(rotation=10)
)
SIZE = 26  # two steps of 12 and one of 2: uneven, and with micro-batches that are nothing but padding


def plain_net(dropout=0.0) -> nn.Module:
    """No BatchNorm: the gradient of a sum is the sum of gradients."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Dropout(dropout), nn.Linear(108, 3)
    ).double()  # fmt: skip


def teacher() -> LiveTeacher:
    torch.manual_seed(1)
    spec = ModelSpec(name="resnet_small", widths=(2, 4, 8), depth=8)
    net = resnet_small(num_classes=3, input_CHW=(1, 8, 8), widths=(2, 4, 8), depth=8)
    card = Card(
        model=spec, classes=("a", "b", "c"), input_CHW=(1, 8, 8), mean=(0.5,), std=(0.5,), eval_crop=1.0,
        cost=measure(net, (1, 8, 8)),
    )  # fmt: skip
    return LiveTeacher(net, card, SPEC, layers=("layer2",)).to(CPU, torch.float64)


def build(
    net: nn.Module, *, accumulation=1, objective=None, taught=None, adapters=None, clip_norm=0.0, seed=0, lr=0.5,
    stepper=torch.optim.SGD,
):  # fmt: skip
    accelerator = Accelerator(cpu=True)
    accelerator.gradient_accumulation_steps = accumulation
    layers = ("0",) if adapters is not None else ()
    student = Student(net, layers, adapters)
    optimizer = stepper(student.parameters(), lr=lr)
    model, prepared = accelerator.prepare(student.train(), optimizer)
    return Step(
        accelerator=accelerator, model=model, teacher=taught, objective=objective or Objective(), optimizer=prepared,
        clip_norm=clip_norm, seed=seed, held=None,
    )  # fmt: skip


def loader(batch_size: int, micro: int, size=SIZE, spec=SPEC) -> PlanLoader:
    samples = reference.in_memory([reference.picture(8, 8, 1, seed=i) for i in range(size)])
    layout = Layout(batch_size=batch_size, micro_batch_size=micro)
    return cpu_loader(samples, spec, layout, seed=4, dtype=torch.float64)


def one(size=12) -> Batch:
    batches = loader(size, size, size)
    (found,) = batches.epoch(0)
    batches.close()
    return found


def trained(micro: int, **kind) -> torch.Tensor:
    """All weights after one epoch in micro-batches of this size."""
    torch.manual_seed(3)
    adapters = Adapters([(3, 4)]).double() if kind.pop("adapted", False) else None
    step = build(plain_net(), accumulation=12 // micro, adapters=adapters, **kind)
    batches, updates = loader(12, micro), 0
    for number, batch in enumerate(batches.epoch(0)):
        before = step.model.net[4].bias.detach().clone()
        step(batch, number * micro // 12, number % (12 // micro))
        moved = not torch.equal(before, step.model.net[4].bias)
        assert moved == ((number + 1) % (12 // micro) == 0), "an update before the global batch was complete, or none"
        updates += moved
    batches.close()
    assert updates == 3
    return torch.cat([p.detach().flatten() for p in step.model.parameters()])


FULL = DistillSpec(alpha=0.6, hint=2.0, attention=3.0, layers=(("0", "layer2"),))


@pytest.mark.parametrize("micro", [1, 2, 4, 6])
@pytest.mark.parametrize("clip_norm", [0.0, 0.05])
def test_micro_batches_add_up_to_one_big_batch(micro, clip_norm):
    whole, parts = trained(12, clip_norm=clip_norm), trained(micro, clip_norm=clip_norm)
    assert (whole - parts).abs().max() < 1e-12
    assert (whole - torch.cat([p.detach().flatten() for p in plain_net().parameters()])).abs().max() > 1e-3


@pytest.mark.parametrize("micro", [2, 4])
def test_with_a_teacher_and_adapters_too(micro):
    kind = {"objective": Objective(FULL, 0.1), "adapted": True}
    whole, parts = (trained(m, taught=teacher(), **kind) for m in (12, micro))
    assert (whole - parts).abs().max() < 1e-12


def test_measurements_over_the_micro_batches_average_to_the_loss_of_the_batch():
    small, batches = build(plain_net(), accumulation=3), loader(12, 4, 12)
    means = [small(batch, 0, slot)[0]["loss"] for slot, batch in enumerate(batches.epoch(0))]
    batches.close()
    whole = build(plain_net())(one(), 0, 0)[0]["loss"]
    assert torch.stack(means).mean().item() == pytest.approx(whole.item(), abs=1e-12)


# ---- dropout


def dropped(step: int, slot: int, *, seed=0, disturb=0) -> torch.Tensor:
    built = build(plain_net(dropout=0.5), seed=seed, lr=1e-9)
    torch.manual_seed(disturb)
    torch.rand(disturb)
    return built(one(), step, slot)[1].logits_BK.detach()


def test_dropout_depends_on_seed_step_and_slot_and_on_nothing_else():
    first = dropped(5, 1)
    assert torch.equal(dropped(5, 1, disturb=7), first)
    for other in (dropped(6, 1), dropped(5, 2), dropped(5, 1, seed=1), dropped(1, 5)):
        assert not torch.equal(other, first)


def test_dropout_is_not_shared_between_the_samples_of_a_batch():
    built = build(nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 3)).double(), lr=1e-9)
    batch = one()
    same = replace(batch, image_BCHW=torch.ones_like(batch.image_BCHW))
    logits_BK = built(same, 0, 0)[1].logits_BK
    assert len({tuple(row) for row in logits_BK.tolist()}) == len(logits_BK)


# ---- clipping


def after_clipping(clip_norm: float) -> tuple[float, dict[str, torch.Tensor]]:
    """The norm of the gradients that the optimizer sees, and the measurements."""
    step = build(plain_net(), clip_norm=clip_norm)
    seen = []
    step.optimizer.optimizer.register_step_pre_hook(
        lambda *_: seen.append(torch.cat([p.grad.flatten() for p in step.model.parameters()]).norm().item())
    )
    measurements, _ = step(one(), 0, 0)
    return seen[0], measurements


def test_the_gradient_norm_is_cut_down_to_clip_norm_and_logged_as_it_was():
    free, measured = after_clipping(0.0)
    assert measured["gradient_norm"].item() == pytest.approx(free)
    clipped, measured = after_clipping(free / 3)
    assert clipped == pytest.approx(free / 3, rel=1e-5)
    assert measured["gradient_norm"].item() == pytest.approx(free)
    untouched, measured = after_clipping(free * 3)
    assert untouched == pytest.approx(free, rel=1e-12) == pytest.approx(measured["gradient_norm"].item())


def test_the_norm_that_is_clipped_is_of_the_global_batch():
    step = build(plain_net(), accumulation=3, clip_norm=0.1)
    batches = loader(12, 4, 12)
    logged = ["gradient_norm" in step(batch, 0, slot)[0] for slot, batch in enumerate(batches.epoch(0))]
    batches.close()
    assert logged == [False, False, True]


# ---- weights that are held at zero

STEPPERS = {
    "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True, weight_decay=0.1),
    "adamw": partial(torch.optim.AdamW, weight_decay=0.1),
}
FREE = 200  # of 357 parameters


def cut_after(steps: int, masked: bool, stepper, **kind) -> tuple[nn.Module, Masks, Step]:
    """A network that is cut once its optimizer has a momentum for every weight."""
    step = build(plain_net(), stepper=stepper, lr=0.05, **kind)
    for number in range(steps):
        step(one(), number, 0)
    net = step.model.net
    masks = Masks.plan(net, FREE)
    masks.apply_(net)
    return net, masks, replace(step, held=masks.on(net) if masked else None)


def revived(net: nn.Module, masks: Masks) -> int:
    parameters = dict(net.named_parameters())
    return sum(int(parameters[name].detach()[cut].count_nonzero()) for name, cut in masks.state_dict().items())


@pytest.mark.parametrize("name", STEPPERS)
@pytest.mark.parametrize("clip_norm", [0.0, 0.05])
def test_cut_weights_stay_zero_whatever_the_optimizer_remembers(name, clip_norm):
    net, masks, step = cut_after(3, True, STEPPERS[name], clip_norm=clip_norm)
    before = copy.deepcopy(net.state_dict())
    for number in range(3, 6):
        step(one(), number, 0)
        assert revived(net, masks) == 0
    assert not any(torch.signbit(net.state_dict()[key][cut]).any() for key, cut in masks.state_dict().items())
    assert all(not torch.equal(value, before[key]) for key, value in net.state_dict().items())  # the others learn
    free, masks, step = cut_after(3, False, STEPPERS[name], clip_norm=clip_norm)  # the control
    step(one(), 3, 0)
    assert revived(free, masks) == 357 - FREE


def test_micro_batches_leave_them_at_zero_too():
    net, masks, step = cut_after(3, True, STEPPERS["adamw"], accumulation=3)
    batches = loader(12, 4, 12)
    for slot, batch in enumerate(batches.epoch(0)):
        step(batch, 1, slot)
        assert revived(net, masks) == 0
    batches.close()


def test_the_norm_that_is_clipped_is_of_free_weights_alone():
    """The gradients of cut weights are no small part of it, and would shrink the update for nothing."""
    norms = []
    for masked in (True, False):
        net, masks, step = cut_after(0, masked, STEPPERS["sgd"], clip_norm=1e9)
        seen = []
        step.optimizer.optimizer.register_step_pre_hook(
            lambda *_, net=net, seen=seen: seen.append({name: p.grad.clone() for name, p in net.named_parameters()})
        )
        logged = step(one(), 0, 0)[0]["gradient_norm"].item()
        cut = masks.state_dict()
        free = [g[~cut[name]] if name in cut else g.flatten() for name, g in seen[0].items()]
        assert all(g[cut[name]].any() != masked for name, g in seen[0].items() if name in cut)
        norms.append((logged, torch.cat(free).norm().item()))
    (logged, free), (unmasked, _) = norms
    assert logged == pytest.approx(free) and unmasked > 1.05 * free


# ---- what comes out, and what stays


def test_measurements_are_detached_and_gradients_are_gone():
    step = build(plain_net(), objective=Objective(DistillSpec(alpha=0.5)), taught=teacher())
    measurements, signals = step(one(), 0, 0)
    assert set(measurements) == {
        "ce",
        "kd",
        "loss",
        "accuracy",
        "agreement",
        "gradient_norm",
    } and signals.logits_BK.shape == (12, 3)
    assert not any(value.requires_grad for value in measurements.values())
    assert all(p.grad is None or not p.grad.any() for p in step.model.parameters())


def test_right_images_are_counted_by_the_share_of_the_answer_in_the_label_and_padding_is_not():
    whole = one(4)
    target_BK = torch.tensor([[1.0, 0, 0], [0, 0.7, 0.3], [0, 0.7, 0.3], [1, 0, 0]])
    logits_BK = torch.eye(3)[[0, 1, 2, 0]]
    taught = Signals(logits_BK=torch.eye(3)[[0, 2, 2, 0]], features_L=[])
    batch = replace(whole, target_BK=target_BK, real=3)
    assert {name: count.item() for name, count in right(logits_BK, batch, taught).items()} == {
        "accuracy": pytest.approx(1 + 0.7 + 0.3),
        "agreement": 2,
    }
    assert right(logits_BK, replace(batch, real=0), None) == {"accuracy": 0}


def test_the_teacher_is_not_changed_by_a_step():
    taught = teacher()
    before = copy.deepcopy(taught.model.state_dict())
    step = build(plain_net(), objective=Objective(DistillSpec(alpha=1.0)), taught=taught)
    step(one(), 0, 0)
    assert all(torch.equal(value, before[name]) for name, value in taught.model.state_dict().items())


# ---- generators


def test_a_step_seeds_what_torch_would_seed_for_its_device():
    """Dropout on the CPU draws the same as after `torch.manual_seed`, whatever was drawn before."""
    for seed in (0, 2**63 + 5, 2**64 - 1):
        torch.manual_seed(seed)
        expected = torch.rand(5)
        torch.rand(3)
        seed_generators(CPU, seed)
        assert torch.equal(torch.rand(5), expected)


def test_on_a_gpu_its_own_generator_and_the_hosts_are_seeded():
    with fake_gpu():
        seed_generators(CUDA, 7)
        seeds = torch.cuda.default_generators[0].initial_seed(), torch.default_generator.initial_seed()
    assert seeds == (7, 7)
