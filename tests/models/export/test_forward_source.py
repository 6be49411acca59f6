"""The forward of a module as source."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from configs.errors import InputError
from models.export.forward_source import Call, access, source


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)])
        self.scale = nn.Parameter(torch.ones(3, 1, 1))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x, mask=None, keep=True):
        if mask is not None:
            x = x * mask
        batch, _, height, _ = x.shape
        for conv in self.convs:
            x = conv(x)
        x = -(x[:, 1:, ..., ::2] ** 2) + self.scale[1:] * 0.5
        x = F.dropout(x, 0.5, self.training)
        return torch.cat([x, x.flip(3)], dim=1).reshape(batch, -1, height)


def run(text, module, *args):
    space = {"torch": torch, "F": F}
    exec(text, space)
    return space["forward"](module, *args)


def test_a_forward_reads_like_one_and_does_the_same():
    module, image = Plain(), torch.randn(2, 3, 4, 4)
    text = source(module, Call.of(module, (image,), {}))
    assert text.splitlines()[0] == "def forward(self, x, mask=None, keep=True):"
    assert "self.convs[0](x)" in text and "self.training" in text and "self.scale" in text
    assert "mask" not in text.partition("\n")[2] and "keep" not in text.partition("\n")[2]
    module.eval()
    assert torch.equal(run(text, module, image), module(image))
    module.train()
    torch.manual_seed(0)
    once = module(image)
    torch.manual_seed(0)
    assert torch.equal(run(text, module, image), once)


class Branches(nn.Module):
    def forward(self, x):
        if self.training:
            return x + torch.rand_like(x)
        return x


def test_two_ways_of_training_and_evaluation_become_an_if():
    text = source(Branches(), Call.of(Branches(), (torch.zeros(1),), {}))
    assert text.splitlines() == [
        "def forward(self, x):",
        "    if self.training:",
        "        rand_like = torch.rand_like(x)",
        "        add = x + rand_like",
        "        return add",
        "    return x",
    ]


class Counts(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        self.seen.add_(1)
        return x


def test_what_changes_a_buffer_stays():
    assert "    self.seen.add_(1)\n" in source(Counts(), Call.of(Counts(), (torch.zeros(1),), {}))


def helper(x):
    return x


torch.fx.wrap("helper")


class Foreign(nn.Module):
    def forward(self, x):
        return helper(x)


class Control(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class Constant(nn.Module):
    def forward(self, x):
        return x + torch.arange(3)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Foreign(), r"calls .*helper, which is not torch's"),
        (Control(), r"torch\.fx cannot follow its forward \(TraceError: symbolically traced variables"),
        (Constant(), "makes a tensor that does not depend on its input"),
    ],
)
def test_what_cannot_be_followed_is_said(module, message):
    with pytest.raises(InputError, match=message):
        source(module, Call.of(module, (torch.zeros(3),), {}))


class Many(nn.Module):
    def forward(self, *images):
        return images[0]


def test_calls():
    how = Call.of(Plain(), (torch.zeros(1),), {"mask": [torch.zeros(1)]})
    assert how == Call(("x", "mask"), {"keep": True})
    with pytest.raises(InputError, match="any number of arguments"):
        Call.of(Many(), (torch.zeros(1),), {})


def test_access():
    net = nn.ModuleDict({"a b": nn.Sequential(nn.ModuleList([nn.ReLU()]))})
    net.add_module("own", Plain())
    assert access(net, "a b.0.0") == "self['a b'][0][0]"
    assert access(net, "own.convs.1.weight", "net") == "net['own'].convs[1].weight"
