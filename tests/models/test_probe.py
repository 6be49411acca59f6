import copy

import pytest
import timm
import torch
from torch import nn

import trait_networks
from configs.errors import InputError
from models.probe import duplicate, probe, run_once, twin

SIZE = (3, 8, 8)


class Looking(nn.Module):
    """Looks at a value, which a tensor without data does not have."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(192, 5)

    def forward(self, image_BCHW):
        if float(image_BCHW.sum()) > 0:
            raise RuntimeError("never with zeros")
        return self.fc(image_BCHW.flatten(1))


def device_of(net, image_BCHW):
    net(image_BCHW)
    return image_BCHW.device.type


def test_nothing_is_computed_for_large_images_where_the_forward_allows_that():
    for side, device in ((8, "cpu"), (944, "cpu"), (945, "meta")):  # 112 weights
        assert probe(nn.Conv2d(3, 4, 3), (3, side, side), device_of, purpose="-") == device


def test_a_network_without_data_stays_on_its_device():
    assert probe(nn.Conv2d(3, 4, 3, device="meta"), SIZE, device_of, purpose="-") == "meta"


def test_a_forward_that_looks_at_values_runs_on_the_cpu():
    assert probe(Looking(), SIZE, device_of, purpose="-") == "cpu"


def test_a_forward_on_the_cpu_leaves_modes_and_the_random_state_alone():
    net, before = Looking(), torch.get_rng_state()
    weight = net.fc.weight.clone()

    def run(other, image_BCHW):
        torch.rand(3)
        assert not other.training
        other.fc.weight.zero_()
        return float(image_BCHW.sum())

    with torch.no_grad():
        probe(net, SIZE, run, purpose="-")
    assert torch.equal(torch.get_rng_state(), before)
    assert net.training and net.fc.weight.requires_grad
    assert torch.equal(net.fc.weight, weight)


def test_the_message_says_whether_the_network_or_the_purpose_failed():
    with pytest.raises(InputError, match=r"does not take an image of 3 x 9 x 8 \(RuntimeError: mat1"):
        probe(Looking(), (3, 9, 8), device_of, purpose="it cannot be counted")

    def broken(net, image_BCHW):
        raise AssertionError("a counter's own fault")

    with pytest.raises(InputError, match=r"takes an image of 3 x 8 x 8, but it cannot be counted \(.*own fault"):
        probe(Looking(), SIZE, broken, purpose="it cannot be counted")


def test_run_once_raises_what_the_forward_raises():
    run_once(Looking(), SIZE)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        run_once(Looking(), (3, 9, 8))


def test_what_an_evaluation_left_behind_is_not_copied():
    net = timm.create_model("levit_128s", num_classes=3).eval()
    net(torch.zeros(1, 3, 224, 224))  # keeps the biases of its attention, with their gradient functions
    cache = next(layer.attention_bias_cache for layer in net.modules() if hasattr(layer, "attention_bias_cache"))
    assert cache
    copied = twin(net, "cpu")
    assert not any(layer.attention_bias_cache for layer in copied.modules() if hasattr(layer, "attention_bias_cache"))
    assert cache


def test_a_duplicate_of_a_network_that_keeps_results_computes_the_same_and_shares_nothing():
    net = trait_networks.NETWORKS["features cached in lists"]()
    image_BCHW = torch.randn(2, *trait_networks.SIZE)
    net(image_BCHW)
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(net)  # control
    other = duplicate(net)
    assert torch.equal(other.eval()(image_BCHW), net.eval()(image_BCHW))
    with torch.no_grad():
        net.a.weight.zero_()
    assert other.a.weight.any()
    assert all(parameter.requires_grad for parameter in other.parameters())
