"""Networks without initial weights: shapes as ever, zeros or nothing in place of what is drawn."""

import pytest
import torch
from torch import nn

from models.networks import architectures
from models.networks.blank import blank
from models.spec import ModelSpec

NAMES = ["resnet_small", "timm/test_vit", "torchvision/mnasnet0_5"]


def built(name):
    return architectures.build(ModelSpec(name=name), num_classes=3, input_CHW=(3, 32, 32))


@pytest.mark.parametrize("name", NAMES)
def test_shapes_are_those_of_the_network_and_nothing_is_drawn(name):
    state = torch.get_rng_state()
    with blank():
        net = built(name)
    assert torch.equal(torch.get_rng_state(), state)
    drawn = built(name)
    assert not torch.equal(torch.get_rng_state(), state)  # the control
    shapes = [{key: (t.shape, t.dtype) for key, t in one.state_dict().items()} for one in (net, drawn)]
    assert shapes[0] == shapes[1]
    assert not any(weight.any() for weight in net.parameters() if weight.dim() > 1)
    assert all(weight.any() for weight in drawn.parameters() if weight.dim() > 2)


def test_a_network_without_weights_takes_those_of_another():
    with blank():
        net = built("timm/test_vit")
    drawn = built("timm/test_vit").eval()
    net.load_state_dict(drawn.state_dict())
    image_BCHW = torch.randn(2, 3, 32, 32)
    assert torch.equal(net.eval()(image_BCHW), drawn(image_BCHW))


def test_what_is_filled_is_a_tensor_still_and_the_end_is_the_end():
    with blank():
        weight = nn.init.kaiming_uniform_(nn.Parameter(torch.ones(3, 3)))
        assert isinstance(weight, nn.Parameter) and weight.requires_grad and not weight.any()
        assert not nn.init.orthogonal_(torch.ones(3, 3)).isnan().any()
    assert nn.init.uniform_(torch.zeros(3, 3)).any()


def test_nothing_is_computed_on_the_meta_device():
    with blank(), torch.device("meta"):
        layer = nn.Linear(10**6, 10**6)
    assert layer.weight.is_meta and layer.weight.shape == (10**6, 10**6)
