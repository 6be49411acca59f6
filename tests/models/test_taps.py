import copy

import pytest
import torch
from torch import nn

from configs.errors import UsageError
from models.networks.resnet import resnet_small
from models.taps import Taps

IMAGES = torch.randn(2, 1, 8, 8)


def small():
    return resnet_small(num_classes=3, input_CHW=(1, 8, 8), widths=(2, 3, 4), depth=8)


def test_take_returns_what_the_layers_returned_and_forgets_it():
    net = small().eval()
    taps = Taps(net, ["layer2", "conv1", "fc"])
    logits = net(IMAGES)
    taken = taps.take()
    assert list(taken) == ["layer2", "conv1", "fc"]
    assert torch.equal(taken["fc"], logits)
    assert torch.equal(taken["conv1"], net.conv1(IMAGES))
    taps.close()
    with Taps(net, ["layer2"]) as again, pytest.raises(UsageError, match="no output of layer2"):
        net(IMAGES)
        again.take()
        again.take()


def test_gradients_flow_into_what_comes_before_the_layer_only():
    net = small()
    with Taps(net, ["layer1"]) as taps:
        net(IMAGES)
        taps.take()["layer1"].sum().backward()
    assert net.conv1.weight.grad is not None
    assert net.layer2[0].conv1.weight.grad is None


def test_close_removes_every_hook():
    net = small()
    with Taps(net, ["layer1", "fc"]) as taps:
        assert sum(len(module._forward_hooks) for module in net.modules()) == 2
    assert not any(module._forward_hooks for module in net.modules())
    taps.close()


def test_a_copy_of_the_network_never_writes_into_the_original_taps():
    net = small()
    with Taps(net, ["layer1"]) as taps:
        net(IMAGES)  # what is held now has a history, which deepcopy would refuse
        twin = copy.deepcopy(net)
        first = taps.take()["layer1"]
        twin(IMAGES + 1)
        with pytest.raises(UsageError, match="no output"):
            taps.take()
        net(IMAGES)
        assert torch.equal(taps.take()["layer1"], first)


def test_an_output_overwritten_in_place_is_refused():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True))
    with Taps(net, ["0"]) as taps:
        net(IMAGES)
        with pytest.raises(UsageError, match="'0' was overwritten in place"):
            taps.take()
    net[1].inplace = False
    with Taps(net, ["0"]) as taps:
        net(IMAGES)
        assert (taps.take()["0"] < 0).any()


def test_no_grad_and_inference_mode_work():
    net = small().eval()
    with Taps(net, ["layer3"]) as taps:
        for mode in (torch.no_grad, torch.inference_mode):
            with mode():
                net(IMAGES)
                assert not taps.take()["layer3"].requires_grad


def test_a_compiled_network_fills_its_taps():
    net = small().eval()
    with Taps(net, ["layer1"]) as taps, torch.no_grad():
        compiled = torch.compile(net, backend="eager", fullgraph=True)
        for _ in range(2):
            compiled(IMAGES)
            output = taps.take()["layer1"]
        assert torch.allclose(output, net.layer1(net.relu(net.bn1(net.conv1(IMAGES)))), atol=1e-5)


@pytest.mark.parametrize(("name", "hint"), [("layer4", "did you mean layer"), ("", "some it has: conv1")])
def test_an_unknown_layer_is_answered_with_valid_ones(name, hint):
    with pytest.raises(UsageError, match=hint):
        Taps(small(), [name])


def test_a_layer_that_returns_no_tensor_is_refused():
    net = nn.Sequential(nn.LSTM(8, 4))
    with Taps(net, ["0"]), pytest.raises(UsageError, match="returns tuple, not one tensor"):
        net(torch.zeros(2, 3, 8))
