"""CUDA graphs: where they are recorded, that they change nothing but the time, and who is refused."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from configs.errors import UsageError
from models.networks.resnet import resnet_small
from train import graphs
from train.processes import make_accelerator
from train.step import seed_generators
from train.student import Student

IMAGES, SHAPE = 4, (1, 8, 8)


def network(dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    net = resnet_small(num_classes=3, input_CHW=SHAPE, widths=(4, 6, 8), depth=8)
    return nn.Sequential(net, nn.Dropout(dropout))


class OnTheHost(nn.Module):
    """Reads a value in its forward, which a graph cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 3)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """image_BCHW -> logits_BK."""
        scale = 1.0 if float(image_BCHW.sum()) > 0 else 2.0
        return scale * self.layer(image_BCHW.flatten(1))


class Stub:
    """What `obstacle` asks of accelerate."""

    def __init__(self, device: str = "cuda", processes: int = 1, accumulation: int = 1) -> None:
        self.device, self.num_processes = torch.device(device), processes
        self.gradient_accumulation_steps = accumulation


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({}, None),
        ({"device": "cpu"}, "no NVIDIA GPU"),
        ({"processes": 2}, "2 processes"),
        ({"accumulation": 3}, "3 micro-batches"),
    ],
)
def test_graphs_take_one_process_on_a_gpu_and_whole_batches(found, said):
    for wanted in ("auto", "always"):
        reason = graphs.obstacle(Stub(**found), wanted, network="resnet_small")
        assert reason is None if said is None else said in reason


def test_code_of_the_users_own_has_graphs_only_when_asked():
    assert "your own" in graphs.obstacle(Stub(), "auto", network="my_net.py:Net")
    assert graphs.obstacle(Stub(), "always", network="my_net.py:Net") is None


def test_who_asks_for_graphs_and_cannot_have_them_is_told_so():
    model, images_BCHW, here = network(), torch.zeros(IMAGES, *SHAPE), Stub("cpu")
    with pytest.raises(UsageError, match="cuda_graphs is always, and there is no NVIDIA GPU; auto does without"):
        graphs.record(model, lambda: images_BCHW, here, "always", network="resnet_small")
    for wanted in ("auto", "never"):
        graphs.record(model, lambda: images_BCHW, here, wanted, network="resnet_small")
        assert "forward" not in vars(model)


def test_what_is_tried_leaves_mode_and_running_statistics_alone():
    model = network().eval()
    before = copy.deepcopy(model.state_dict())
    with graphs.unchanged(model):
        assert model.training
        graphs._once(model, torch.randn(IMAGES, *SHAPE))
        assert any((model.state_dict()[name] != value).any() for name, value in before.items())  # the control
    assert not model.training
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    assert all(parameter.grad is None for parameter in model.parameters())


def prepared(net: nn.Module, precision: str) -> tuple[Accelerator, nn.Module]:
    accelerator = make_accelerator(precision)
    student = Student(net, ("0.layer1",), None).to(accelerator.device).to(memory_format=torch.channels_last)
    return accelerator, accelerator.prepare(student)


def trained(precision: str, wanted: str, steps: int = 6) -> tuple[dict[str, Tensor], int]:
    """Weights and buffers after some steps with features in the loss; how often Python ran the network."""
    accelerator, model = prepared(network(dropout=0.3), precision)
    calls: list[Any] = []
    images_SBCHW = torch.randn(steps, IMAGES, *SHAPE, generator=torch.Generator().manual_seed(1)).to(accelerator.device)
    graphs.record(model, partial(torch.zeros_like, images_SBCHW[0]), accelerator, wanted, network="resnet_small")
    model.net.register_forward_hook(lambda *_: calls.append(1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=True)
    model.train()
    for step in range(steps):
        seed_generators(accelerator.device, step)
        logits_BK, features_L, _ = model(images_SBCHW[step])
        loss = nn.functional.cross_entropy(logits_BK, torch.arange(IMAGES, device=logits_BK.device) % 3)
        accelerator.backward(loss + features_L[0].square().mean())
        optimizer.step()
        optimizer.zero_grad()
    return {name: value.clone() for name, value in model.state_dict().items()}, len(calls)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_graphs_compute_the_same_bits_and_draw_the_same_dropout(cuda, precision, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    launched, replayed = trained(precision, "never"), trained(precision, "always")
    assert (launched[1], replayed[1]) == (6, 0)
    for name, value in launched[0].items():
        torch.testing.assert_close(replayed[0][name], value, rtol=0, atol=0, msg=name)


@pytest.mark.gpu
def test_a_small_network_is_bound_by_the_host_and_recorded(cuda):
    assert trained("bf16", "auto")[1] == 0


@pytest.mark.gpu
def test_a_network_that_reads_values_is_launched_as_before(cuda):
    accelerator = make_accelerator("float32")
    model = accelerator.prepare(Student(OnTheHost(), (), None).to(accelerator.device))
    images_BCHW = torch.ones(IMAGES, *SHAPE, device=accelerator.device)
    with pytest.raises(UsageError, match="cuda_graphs is always, and my_net waits for the GPU in a step"):
        graphs.record(model, lambda: images_BCHW, accelerator, "always", network="my_net")
    graphs.record(model, lambda: images_BCHW, accelerator, "auto", network="my_net")
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    assert torch.cuda.get_sync_debug_mode() == 0
    logits_BK, _, _ = model.train()(images_BCHW)
    logits_BK.sum().backward()
    assert model.net.layer.weight.grad.abs().sum() > 0


@pytest.fixture
def recorder(monkeypatch):
    """What is recorded, on a machine where launching takes all of the time and nothing waits."""
    recorded: list[Any] = []
    monkeypatch.setattr(graphs, "_host_share", lambda *_: 1.0)
    monkeypatch.setattr(graphs, "_waits", lambda *_: None)
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", lambda model, images, **_: recorded.append(images))
    return recorded


def test_a_step_that_launching_takes_most_of_is_recorded(recorder, monkeypatch):
    images_BCHW = torch.zeros(IMAGES, *SHAPE)
    graphs.record(network(), lambda: images_BCHW, Stub(), "auto", network="net")
    assert recorder == [(images_BCHW,)]
    monkeypatch.setattr(graphs, "_host_share", lambda *_: graphs.HOST_BOUND - 0.01)
    graphs.record(network(), lambda: images_BCHW, Stub(), "auto", network="net")
    assert len(recorder) == 1
    graphs.record(network(), lambda: images_BCHW, Stub(), "always", network="net")
    assert len(recorder) == 2


def test_a_step_that_waits_is_not_recorded(recorder, monkeypatch):
    monkeypatch.setattr(graphs, "_waits", lambda *_: "called item")
    graphs.record(network(), partial(torch.zeros, IMAGES, *SHAPE), Stub(), "auto", network="net")
    with pytest.raises(UsageError, match=r"always, and net waits for the GPU in a step \(called item\)"):
        graphs.record(network(), partial(torch.zeros, IMAGES, *SHAPE), Stub(), "always", network="net")
    assert recorder == []


def test_no_training_goes_on_after_a_recording_that_failed(recorder, monkeypatch):
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", fail)
    text = r"net cannot be recorded as CUDA graphs \(operation not permitted\); set cuda_graphs to never"
    with pytest.raises(UsageError, match=text):
        graphs.record(network(), partial(torch.zeros, IMAGES, *SHAPE), Stub(), "auto", network="net")
