import copy

import pytest
import timm
import torch
from torch import nn

from configs.errors import InputError
from models.counting import measure
from models.spec import ModelSpec
from models.taps import Taps
from models.zoo import build

NIN = ["--model", "nin", "--num_classes", "10", "--input", "3", "32", "32"]


def test_every_number_of_a_network_small_enough_to_count_by_hand():
    net = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 6 * 6, 5))
    cost = measure(net, (2, 8, 8))
    assert cost.parameters == 2 * 4 * 9 + 8 + 144 * 5 + 5
    assert cost.nonzero == cost.parameters - 4  # BatchNorm starts with a shift of zero
    assert cost.macs == 36 * 2 * 4 * 9 + 144 * 5
    assert cost.bytes == 4 * (cost.parameters + 8) + 8  # two statistics and one int64 counter


def test_zeros_are_counted_among_the_parameters():
    net = nn.Linear(10, 10, bias=False)
    with torch.no_grad():
        net.weight[:3] = 0
    cost = measure(nn.Sequential(nn.Flatten(), net), (1, 1, 10))
    assert (cost.parameters, cost.nonzero, cost.macs) == (100, 70, 100)


def test_attention_counts_its_matrix_products():
    net = timm.create_model("vit_tiny_patch16_224", num_classes=10, img_size=32, patch_size=8, depth=1)
    tokens, width = 17, 192
    dense = 16 * 3 * 64 * width + tokens * width * width * (3 + 1 + 4 + 4) + width * 10
    assert measure(net, (3, 32, 32)).macs == dense + 2 * tokens * tokens * width


def test_a_parameter_that_is_the_input_of_a_layer_is_no_obstacle():
    """Attention pooling passes its latent, which requires gradients, to a layer."""
    net = timm.create_model("test_vit3", num_classes=10, img_size=32)
    assert measure(net, (3, 32, 32)).macs > 0 and all(p.requires_grad for p in net.parameters())


def test_measuring_disturbs_nothing():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(), nn.Flatten(), nn.Linear(72, 3)).double()
    net[1].eval()
    with Taps(net, ["0"]) as taps:
        net(torch.zeros(2, 1, 8, 8).double())
        held = taps._outputs["0"][0]
        before = copy.deepcopy(net.state_dict())
        random = torch.get_rng_state()
        measure(net, (1, 8, 8))
        assert taps.take()["0"] is held
    assert [module.training for module in net] == [True, False, True, True, True]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert {value.device.type for value in net.state_dict().values()} == {"cpu"}
    assert torch.equal(torch.get_rng_state(), random)


def test_an_image_that_does_not_fit_is_refused():
    net = build(ModelSpec(name="nin"), num_classes=10, input_CHW=(3, 32, 32))
    with pytest.raises(InputError, match="does not take an image of 1 x 32 x 32"):
        measure(net, (1, 32, 32))


@pytest.mark.parametrize("name", ["pit_ti_224", "cait_xxs24_224"])
def test_a_parameter_that_goes_through_a_layer_is_no_hindrance(name):
    net = timm.create_model(name, num_classes=10, depth=1 if name.startswith("cait") else (1, 1, 1))
    linear = sum(layer.weight.numel() for layer in net.modules() if isinstance(layer, nn.Linear))
    assert measure(net, (3, 224, 224)).macs > linear


def test_macs_are_counted_on_the_cpu_where_a_forward_needs_values():
    class Looking(nn.Sequential):
        def forward(self, image_BCHW):
            assert float(image_BCHW.sum()) == 0
            return super().forward(image_BCHW)

    net = Looking(nn.Conv2d(2, 4, 3, bias=False), nn.Flatten(), nn.Linear(4 * 6 * 6, 5))
    assert measure(net, (2, 8, 8)).macs == 36 * 2 * 4 * 9 + 144 * 5
