"""Every guard fires on its error and stays silent without it."""

import math

import pytest
import torch
from accelerate import Accelerator
from torch import nn

import reference
from configs.errors import InputError, NonFiniteError
from cpu_loader import cpu_loader
from data_pipes.loader import Layout, PlanLoader
from data_pipes.spec import AugmentSpec, DataSpec
from models.networks.resnet import resnet_small
from train import guards
from train.evaluate.evaluation import evaluate

CPU = torch.device("cpu")
SPEC = DataSpec(
    source="digits", image_size=(16, 16), mean=(0.3,), std=(0.4,), threads=1, augment=AugmentSpec(rotation=30)
)
LAYOUT = Layout(batch_size=4, micro_batch_size=4)


def net():
    return resnet_small(num_classes=3, input_CHW=(1, 16, 16), widths=(2, 4, 8), depth=8)


def loader(seed=None) -> PlanLoader:
    samples = reference.in_memory([reference.picture(16, 16, 1, seed=i) for i in range(6)])
    return cpu_loader(samples, SPEC, LAYOUT, seed=seed)


# ---- logits


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_probabilities_are_refused(dtype, classes):
    logits_BK = torch.randn(16, classes, generator=torch.Generator().manual_seed(0))
    with pytest.raises(InputError, match=r"the student's outputs .* are probabilities, but the losses need logits"):
        guards.require_logits(logits_BK.softmax(1).to(dtype), "student")
    guards.require_logits(logits_BK.to(dtype), "student")


@pytest.mark.parametrize(
    "logits",
    [[[0.5, 0.5], [3.0, 0.0]], [[-0.5, 1.5], [0.5, 0.5]], [[0.0, 0.0]], [[5.0, 2.0]], [[math.nan, 1.0]]],
    ids=["one row is not", "negative", "zeros", "positive", "nan"],
)
def test_logits_that_only_look_alike_pass(logits):
    guards.require_logits(torch.tensor(logits), "student")


def test_probabilities_of_a_network_under_bf16_autocast_are_refused():
    torch.manual_seed(0)
    model, image_BCHW = nn.Sequential(net(), nn.Softmax(dim=1)).eval(), torch.randn(32, 1, 16, 16)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        probability_BK = model(image_BCHW)  # in bf16 on a CPU, where rows sum to one within 2^-8 only
    with pytest.raises(InputError, match="are probabilities"):
        guards.require_logits(probability_BK, "student")


def test_evaluation_refuses_a_network_that_ends_in_softmax():
    accelerator, batches = Accelerator(cpu=True), loader()
    evaluate(accelerator, net(), batches.epoch(0), 3)
    with pytest.raises(InputError, match="Remove the softmax at the end of the network"):
        evaluate(accelerator, nn.Sequential(net(), nn.Softmax(dim=1)), batches.epoch(0), 3)
    batches.close()


# ---- a frozen teacher


def test_one_batchnorm_in_train_mode_is_enough_to_refuse_a_teacher():
    teacher = net().eval().requires_grad_(False)
    guards.require_frozen(teacher)
    teacher.layer3[0].bn2.train()
    with pytest.raises(InputError, match="in training mode"):
        guards.require_frozen(teacher)


def test_one_parameter_with_gradients_is_enough_to_refuse_a_teacher():
    teacher = net().eval().requires_grad_(False)
    teacher.fc.bias.requires_grad_()
    with pytest.raises(InputError, match="require gradients; freeze them"):
        guards.require_frozen(teacher)


# ---- classes


def test_the_same_classes_in_the_same_order_pass():
    guards.require_classes(("cat", "dog"), ["cat", "dog"], "the teacher t")
    guards.require_classes(("caf\u00e9",), ["cafe\u0301"], "the teacher t")


@pytest.mark.parametrize(
    ("known", "data", "message"),
    [
        (("cat", "dog"), ("dog", "cat"), "in another order: its class 0 is 'cat', the data set's is 'dog'"),
        (("cat", "dog"), ("cat", "cow"), "other classes: its class 1 is 'dog', the data set's is 'cow'"),
        (("cat", "dog"), ("cat", "dog", "cow"), "knows 2 classes and the data set has 3"),
    ],
)
def test_other_classes_are_refused(known, data, message):
    with pytest.raises(InputError, match=f"the teacher t.*{message}"):
        guards.require_classes(known, data, "the teacher t")


# ---- accuracy


def test_an_accuracy_far_under_the_recorded_one_is_refused_with_both_numbers():
    with pytest.raises(InputError, match=r"10\.0 % of 500 validation images right.*records 95\.0 %.*teacher_check 0"):
        guards.require_accuracy(50, 500, 0.95, "validation")


@pytest.mark.parametrize(("correct", "count"), [(475, 500), (460, 500), (455, 500), (500, 500)])
def test_an_accuracy_near_the_recorded_one_passes(correct, count):
    guards.require_accuracy(correct, count, 0.95, "validation")


def test_a_small_sample_proves_nothing():
    guards.require_accuracy(7, 10, 0.95, "validation")  # 70 %, but the interval reaches to 93 %
    guards.require_accuracy(0, 0, 0.95, "validation")
    with pytest.raises(InputError):
        guards.require_accuracy(700, 1000, 0.95, "validation")


def test_the_edge_is_the_upper_end_of_the_interval_five_points_below():
    upper = guards.wilson(80, 100, z=3.29)[1]
    guards.require_accuracy(80, 100, upper + guards.TOLERANCE - 1e-9, "validation")
    with pytest.raises(InputError):
        guards.require_accuracy(80, 100, upper + guards.TOLERANCE + 1e-9, "validation")


# ---- a live optimizer


def test_an_optimizer_is_dead_after_a_parameter_was_replaced():
    module = net()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    guards.require_live(optimizer, module)
    total = len(list(module.parameters()))
    module.fc.weight = nn.Parameter(module.fc.weight.detach().clone())
    with pytest.raises(InputError, match=rf"holds 1 stale parameters and lacks 1 of the module's {total}; build"):
        guards.require_live(optimizer, module)
    guards.require_live(torch.optim.SGD(module.parameters(), lr=0.1), module)


def test_an_optimizer_that_lacks_a_parameter_or_has_a_frozen_one_is_refused():
    module = net()
    optimizer = torch.optim.SGD(list(module.parameters())[1:], lr=0.1)
    with pytest.raises(InputError, match=r"holds 0 stale parameters and lacks 1 of .*; build a new one after pruning"):
        guards.require_live(optimizer, module)
    module.conv1.weight.requires_grad_(False)  # which is the one that it lacks
    guards.require_live(optimizer, module)
    module.fc.bias.requires_grad_(False)
    with pytest.raises(InputError, match="holds 1 stale parameters and lacks 0 of the module"):
        guards.require_live(optimizer, module)


# ---- repeatable evaluation views


def test_the_fixed_view_repeats_and_leaves_no_loader_open():
    batches = loader()
    guards.require_repeatable(batches.epoch(0), batches.epoch(0))
    assert not batches.gradient_state.in_dataloader
    batches.close()


def test_two_different_training_views_are_refused():
    batches = loader(seed=1)
    guards.require_repeatable(batches.epoch(0), batches.epoch(0))
    with pytest.raises(InputError, match="evaluation shows different images each time"):
        guards.require_repeatable(batches.epoch(0), batches.epoch(1))
    batches.close()


def test_another_order_of_equal_images_is_refused():
    batches = loader()
    (first, *_), (again, *_) = list(batches.epoch(0)), list(batches.epoch(0))
    again.index_B.add_(1)
    with pytest.raises(InputError, match="different images"):
        guards.require_repeatable([first], [again])
    batches.close()


# ---- finite losses


def test_a_loss_that_is_not_finite_names_the_steps_and_what_to_try():
    guards.require_finite(torch.tensor(True), 100, 150)
    with pytest.raises(NonFiniteError, match=r"between steps 100 and 150.*optim\.lr.*optim\.clip_norm") as caught:
        guards.require_finite(torch.tensor(False), 100, 150)
    assert caught.value.exit_code == 65
