import pytest
import torch
from torch import nn

from configs.errors import UsageError
from models.counting import measure
from models.networks.depthwise import DepthwiseV2, depthwise, depthwise_v2
from models.taps import Taps

PHOTO = (3, 224, 224)


def parameters(net):
    return sum(parameter.numel() for parameter in net.parameters())


def test_depthwise_is_the_published_student():
    net = depthwise(num_classes=11, input_CHW=PHOTO)
    assert parameters(net) == 82_121
    with torch.no_grad():
        assert net.features[:2](torch.zeros(1, *PHOTO)).shape == (1, 32, 220, 220)


def test_depthwise_runs_on_its_smallest_image_and_refuses_a_smaller_one():
    net = depthwise(num_classes=11, input_CHW=(3, 60, 60))
    assert net(torch.zeros(2, 3, 60, 60)).shape == (2, 11)
    with pytest.raises(RuntimeError):  # what the check spares the user
        net(torch.zeros(2, 3, 59, 59))
    with pytest.raises(UsageError, match="at least 60 x 60 pixels, not 32 x 32"):
        depthwise(num_classes=11, input_CHW=(3, 32, 32))


def test_v2_uses_its_budget_and_a_fraction_of_the_macs():
    net = depthwise_v2(num_classes=11, input_CHW=PHOTO)
    cost = measure(net, PHOTO)
    assert 57_000 <= cost.parameters <= 60_000
    assert cost.macs < measure(depthwise(num_classes=11, input_CHW=PHOTO), PHOTO).macs / 5


@pytest.mark.parametrize(
    ("size", "sides"),
    [((3, 224, 224), (56, 28, 14, 7)), ((3, 32, 32), (32, 16, 8, 4)), ((1, 28, 28), (28, 14, 7, 4))],
)
def test_v2_stages_line_up_with_a_resnet_teacher(size, sides):
    net = depthwise_v2(num_classes=11, input_CHW=size).eval()
    with Taps(net, ["layer1", "layer2", "layer3", "layer4"]) as taps, torch.no_grad():
        assert net(torch.zeros(1, *size)).shape == (1, 11)
        shapes = [tuple(output.shape[1:]) for output in taps.take().values()]
    assert shapes == [(width, side, side) for width, side in zip(DepthwiseV2.WIDTHS[1:], sides, strict=True)]


def test_v2_block_is_depthwise_norm_leak_pointwise_norm_leak():
    block = depthwise_v2(num_classes=2, input_CHW=PHOTO).layer2[0]
    kinds = [type(layer) for layer in block]
    assert kinds == [nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU] * 2
    assert block[0].groups == block[0].in_channels
    assert block[2].negative_slope == 0.01


@pytest.mark.parametrize("builder", [depthwise, depthwise_v2])
def test_wrong_number_of_widths_is_refused(builder):
    with pytest.raises(UsageError, match=r"takes [57] widths, not 2"):
        builder(num_classes=11, input_CHW=PHOTO, widths=(8, 8))
