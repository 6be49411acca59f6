import time

import pytest
import torch
from torch import nn

from configs.errors import UsageError
from models.export import latency
from models.export.latency import Contender, Latency, Spread, eager, measure, speedup

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def short_laps(monkeypatch):
    monkeypatch.setattr(latency, "LAP_SECONDS", 0.0)


class Recorder:
    """Notes every call; sleeps a while per image."""

    def __init__(self, name, calls, seconds=0.0):
        self.name, self.calls, self.seconds = name, calls, seconds

    def contender(self):
        return Contender(network=self.name, runtime="none", input_CHW=(1, 2, 3), bind=self.bind)

    def bind(self, image_BCHW):
        assert image_BCHW.shape[1:] == (1, 2, 3)

        def forward():
            self.calls.append((self.name, len(image_BCHW)))
            time.sleep(self.seconds * len(image_BCHW))

        return forward


def test_rounds_take_turns_and_begin_with_another_one_each_time():
    calls = []
    measure([Recorder(name, calls).contender() for name in "abc"], batch_sizes=(5,), rounds=3)
    warm_up = [name for name in "abc" for _ in range(latency.WARM_UP)]
    laps = [name for turn in ("abc", "bca", "cab") for name in turn for _ in range(2)]  # untimed, timed
    assert [name for name, _ in calls] == warm_up + laps
    assert {size for _, size in calls} == {5}


def test_what_takes_longer_is_measured_to_take_longer():
    found = measure([Recorder("slow", [], 8e-4).contender(), Recorder("fast", [], 2e-4).contender()], rounds=3)
    assert [(entry.network, entry.batch_size) for entry in found[:2]] == [("slow", 1), ("fast", 1)]
    assert [entry.batch_size for entry in found] == [1, 1, 64, 64]
    assert found[0].ms.median >= 0.8
    assert found[2].ms.median >= 64 * 0.8
    assert 1.5 < speedup(found[2], found[3]).median < 4.1


def test_a_lap_repeats_a_short_call(monkeypatch):
    monkeypatch.setattr(latency, "LAP_SECONDS", 0.01)
    calls = []
    (found,) = measure([Recorder("a", calls, 1e-3).contender()], batch_sizes=(1,), rounds=2)
    assert len(calls) > 2 * 4
    assert 1 <= found.ms.median < 10  # per call, not per lap


def test_spread_is_of_quartiles_and_ratios_are_of_rounds():
    assert Spread.over([1, 2, 3, 4, 100]) == Spread(3, 2, 4)
    slow, fast = (
        Latency(network=name, runtime="none", batch_size=1, round_ms=ms)
        for name, ms in (("slow", (2.0, 20.0, 4.0)), ("fast", (1.0, 10.0, 2.0)))
    )
    assert speedup(slow, fast) == Spread(2, 2, 2)  # a machine ten times slower in one round slows both


def test_the_module_is_not_touched_and_neither_is_the_random_state():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    state = torch.get_rng_state()
    measure([eager("net", net, (1, 8, 8), CPU)], batch_sizes=(2,), rounds=2)
    assert net.training
    assert net[0].weight.is_contiguous()
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_eager_runs_as_training_does():
    seen = []

    class Probe(nn.Module):
        def forward(self, image_BCHW):
            channels_last = image_BCHW.is_contiguous(memory_format=torch.channels_last)
            seen.append((tuple(image_BCHW.shape), self.training, torch.is_inference_mode_enabled(), channels_last))
            return image_BCHW

    measure([eager("probe", Probe(), (3, 4, 5), CPU)], batch_sizes=(2,), rounds=2)
    assert set(seen) == {((2, 3, 4, 5), False, True, True)}


def test_one_round_has_no_spread():
    with pytest.raises(UsageError, match="at least 2"):
        measure([], rounds=1)


@pytest.mark.gpu
def test_a_gpu_is_waited_for(cuda):
    net = nn.Sequential(*(nn.Conv2d(64, 64, 3, padding=1) for _ in range(20)))
    small, large = measure([eager("net", net, (64, 64, 64), cuda)], rounds=5)
    assert large.ms.median > 4 * small.ms.median  # a launch alone would take the same at any batch size
