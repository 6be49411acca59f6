"""One pass over a split: exact counts whatever the batch, and a network that is left as it was."""

# B batch, K classes, N samples

import copy

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from torch import nn

import reference
from configs.errors import InputError
from data_pipes.loader import PlanLoader
from data_pipes.spec import DataSpec
from models.artefact import Card
from models.counting import measure
from models.networks.resnet import resnet_small
from models.spec import ModelSpec
from train.evaluate.evaluation import evaluate
from train.live_teacher import LiveTeacher
from train.loaders import FEW_IMAGES, evaluation_loader

SPEC = DataSpec(source="digits", image_size=(16, 16), mean=(0.3,), std=(0.4,), threads=1)
SAMPLES = reference.in_memory([reference.picture(16, 16, 1, seed=i) for i in range(13)])


@pytest.fixture
def accelerator():
    yield Accelerator(cpu=True)
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def net(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    model = resnet_small(num_classes=3, input_CHW=(1, 16, 16), widths=(2, 4, 8), depth=8)
    with torch.no_grad():
        image_NCHW = torch.from_numpy(np.stack([SAMPLES.read(i, channels=1) for i in range(13)])).permute(0, 3, 1, 2)
        model.fc.bias.sub_(
            model.eval()((image_NCHW / 255 - 0.3) / 0.4).mean(0)
        )  # so that it does not say the same of all
    return model


def teacher(model: nn.Module) -> LiveTeacher:
    card = Card(
        model=ModelSpec(name="resnet_small", widths=(2, 4, 8), depth=8), classes=SAMPLES.classes, input_CHW=(1, 16, 16),
        mean=SPEC.mean, std=SPEC.std, eval_crop=1.0, cost=measure(model, (1, 16, 16)),
    )  # fmt: skip
    return LiveTeacher(model, card, SPEC)


def loader(accelerator: Accelerator, batch_size: int) -> PlanLoader:
    return evaluation_loader(accelerator, SAMPLES, SPEC, FEW_IMAGES, batch_size=batch_size)


def answers(model: nn.Module) -> np.ndarray:
    """One image at a time, normalised by hand."""
    found = []
    for i in range(len(SAMPLES)):
        pixel_CHW = torch.from_numpy(SAMPLES.read(i, channels=1)).permute(2, 0, 1) / 255
        with torch.no_grad():
            found.append(int(model.eval()(((pixel_CHW - 0.3) / 0.4)[None]).argmax()))
    return np.array(found)


@pytest.mark.parametrize("batch_size", [1, 4, 13, 256])
def test_every_sample_is_counted_once_and_agrees_with_one_at_a_time(accelerator, batch_size):
    model, other = net(1), net(2)
    answer_N, taught_N = answers(model), answers(other)
    confusion = np.zeros((3, 3), int)
    np.add.at(confusion, (SAMPLES.label_N, answer_N), 1)
    batches = loader(accelerator, batch_size)
    found = evaluate(accelerator, model, batches.epoch(0), 3, teacher=teacher(other))
    batches.close()
    assert np.array_equal(np.array(found.confusion), confusion) and found.count == len(SAMPLES)
    assert (found.correct, found.top5) == (int((answer_N == SAMPLES.label_N).sum()), 13)
    assert found.agreed == int((answer_N == taught_N).sum())
    assert len(set(answer_N)) > 1, "a network that says the same of everything proves nothing"


@pytest.mark.parametrize("training", [True, False])
def test_mode_statistics_and_gradients_stay(accelerator, training):
    model = net(1).train(training)
    before = copy.deepcopy(model.state_dict())
    batches = loader(accelerator, 4)
    evaluate(accelerator, model, batches.epoch(0), 3)
    batches.close()
    assert all(module.training == training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not batches.gradient_state.in_dataloader


def test_a_teacher_in_training_mode_is_refused_here_too(accelerator):
    taught, batches = teacher(net(2)), loader(accelerator, 4)
    taught.model.train()
    with pytest.raises(InputError, match="training mode"):
        evaluate(accelerator, net(1), batches.epoch(0), 3, teacher=taught)
    batches.close()
