"""Logits get another order of the classes, or the network is refused."""

import pytest
import torch
from torch import nn

from configs.errors import InputError
from models.adopt import class_order
from models.artefact import Card
from models.counting import measure
from models.networks.architectures import build
from models.spec import ModelSpec

SIZE = (3, 64, 64)


def card_of(net, spec):
    own = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "eval_crop": 1.0}
    return Card(model=spec, classes=("a", "b", "c"), input_CHW=SIZE, cost=measure(net, SIZE), **own)


@pytest.mark.parametrize(
    "name", ["resnet_small", "nin", "torchvision/squeezenet1_1", "timm/test_vit", "timm/test_efficientnet"]
)
def test_rows_of_the_last_layer_change_places(name):
    torch.manual_seed(0)
    spec = ModelSpec(name=name)
    net = build(spec, num_classes=3, input_CHW=SIZE).eval()
    image_BCHW = torch.randn(2, *SIZE)
    with torch.no_grad():
        before_BK = net(image_BCHW)
        assert class_order.reorder(net, card_of(net, spec), ("a", "b", "c")).classes == ("a", "b", "c")
        assert torch.equal(net(image_BCHW), before_BK)
        assert class_order.reorder(net, card_of(net, spec), ("c", "a", "b")).classes == ("c", "a", "b")
        torch.testing.assert_close(net(image_BCHW), before_BK[:, [2, 0, 1]])


def test_logits_that_another_layer_changes_are_refused():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12288, 3), nn.BatchNorm1d(3)).eval()
    net[2].running_mean.normal_()
    with pytest.raises(InputError, match="in another order than the data set, c, a, b, and no layer"):
        class_order.reorder(net, card_of(net, ModelSpec(name="my_net.py:Net")), ("c", "a", "b"))


def test_other_classes_are_named():
    class_order.require_same(("b", "a"), ("a", "b"))
    with pytest.raises(InputError, match="--classes names a, a, and the data set has a, b: give the data set's names"):
        class_order.require_same(("a", "a"), ("a", "b"))
