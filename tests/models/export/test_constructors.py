"""Expressions that build layers of torch.nn."""

import pytest
import torch
from torch import nn

from configs.errors import InputError
from models.export import constructors
from models.export.constructors import call, container, literal, plain_class

LAYERS = [
    (nn.Conv2d(3, 8, 3), "nn.Conv2d(3, 8, kernel_size=3)"),
    (
        nn.Conv2d(4, 8, (3, 1), stride=2, padding=(1, 0), groups=2, bias=False),
        "nn.Conv2d(4, 8, kernel_size=(3, 1), stride=2, padding=(1, 0), groups=2, bias=False)",
    ),
    (nn.Conv2d(3, 8, 3, padding="same"), "nn.Conv2d(3, 8, kernel_size=3, padding='same')"),
    (nn.ConvTranspose2d(4, 2, 2, stride=2), "nn.ConvTranspose2d(4, 2, kernel_size=2, stride=2)"),
    (nn.Linear(5, 3), "nn.Linear(5, 3)"),
    (nn.Linear(5, 3, bias=False), "nn.Linear(5, 3, bias=False)"),
    (nn.BatchNorm2d(7), "nn.BatchNorm2d(7)"),
    (
        nn.BatchNorm2d(7, eps=1e-3, momentum=None, affine=False),
        "nn.BatchNorm2d(7, eps=0.001, momentum=None, affine=False)",
    ),
    (nn.LayerNorm(6), "nn.LayerNorm((6,))"),
    (nn.LayerNorm(6, bias=False), "nn.LayerNorm((6,), bias=False)"),
    (nn.GroupNorm(2, 6), "nn.GroupNorm(2, 6)"),
    (nn.ReLU(inplace=True), "nn.ReLU(inplace=True)"),
    (nn.GELU(approximate="tanh"), "nn.GELU(approximate='tanh')"),
    (nn.PReLU(3), "nn.PReLU(num_parameters=3)"),
    (nn.Dropout(0.2), "nn.Dropout(p=0.2)"),
    (nn.MaxPool2d(3, 2, 1), "nn.MaxPool2d(3, stride=2, padding=1)"),
    (nn.AvgPool2d(2, count_include_pad=False), "nn.AvgPool2d(2, count_include_pad=False)"),
    (nn.AdaptiveAvgPool2d((1, 1)), "nn.AdaptiveAvgPool2d((1, 1))"),
    (nn.AdaptiveAvgPool2d(1), "nn.AdaptiveAvgPool2d(1)"),
    (nn.Flatten(), "nn.Flatten()"),
    (nn.Upsample(scale_factor=2.0, mode="bilinear"), "nn.Upsample(scale_factor=2.0, mode='bilinear')"),
    (nn.MultiheadAttention(8, 2, batch_first=True), "nn.MultiheadAttention(8, num_heads=2, batch_first=True)"),
    (nn.Identity(), "nn.Identity()"),
]


@pytest.mark.parametrize(("layer", "wanted"), LAYERS, ids=lambda value: value if isinstance(value, str) else "")
def test_the_expression_is_short_and_builds_the_layer(layer, wanted):
    before = torch.get_rng_state()
    text = constructors.constructor(layer, type(layer))
    assert text == wanted
    assert torch.equal(torch.get_rng_state(), before)
    again = eval(text)
    assert str(again) == str(layer)
    assert {n: t.shape for n, t in again.state_dict().items()} == {n: t.shape for n, t in layer.state_dict().items()}


def test_a_layer_that_no_arguments_give_is_refused():
    layer = nn.Conv2d(3, 8, 3)
    layer.weight = nn.Parameter(torch.zeros(8, 2, 3, 3))
    with pytest.raises(InputError, match=r"no arguments of nn\.Conv2d give Conv2d\(3, 8"):
        constructors.constructor(layer, nn.Conv2d)


class Renamed(nn.Conv2d):
    pass


class Other(nn.Conv2d):
    def forward(self, x):
        return super().forward(x) + 1


def test_a_subclass_is_the_class_of_torch_unless_its_forward_is_another():
    assert plain_class(Renamed(3, 8, 3)) is nn.Conv2d and plain_class(nn.BatchNorm2d(3)) is nn.BatchNorm2d
    assert plain_class(nn.MultiheadAttention(4, 1).out_proj) is nn.Linear
    assert plain_class(Other(3, 8, 3)) is None
    assert container(nn.Sequential()) is nn.Sequential and container(nn.ModuleList()) is nn.ModuleList
    assert container(nn.ReLU()) is None


def test_literals():
    values = [1, 2.5, True, None, "a'b", (1,), (1, 2), [3], torch.float16, ...]
    for value in values:
        assert eval(literal(value)) == value
    assert eval(literal(float("-inf"))) == float("-inf")
    with pytest.raises(InputError, match="a Tensor cannot be written as source"):
        literal((1, torch.zeros(2)))


def test_long_calls_have_a_line_for_each_argument():
    assert call("f", ["1", "2"]) == "f(1, 2)"
    assert call("f", ["a" * 60, "b" * 60]) == f"f(\n    {'a' * 60},\n    {'b' * 60},\n)"
    assert eval(call("len", [call("", ["1", "2" * 120], "[]")])) == 2
