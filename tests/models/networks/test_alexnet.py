import pytest
import torch
import torchinfo
from torch import nn

from configs.errors import UsageError
from models.networks.alexnet import alexnet_small

SIZE = (3, 32, 32)


def test_it_is_the_published_teacher():
    table = str(torchinfo.summary(alexnet_small(num_classes=10, input_CHW=SIZE), (1, *SIZE), verbose=0))
    assert "Total params: 57,023,306\n" in table
    assert any(line.startswith("Total mult-adds") and line.endswith(": 240.15") for line in table.splitlines())


def test_smallest_image_dropout_and_channels():
    net = alexnet_small(num_classes=4, input_CHW=(1, 13, 13), dropout=0.1)
    assert net(torch.zeros(1, 1, 13, 13)).shape == (1, 4)
    assert {layer.p for layer in net.modules() if isinstance(layer, nn.Dropout)} == {0.1}
    with pytest.raises(RuntimeError):
        net(torch.zeros(1, 1, 12, 12))
    with pytest.raises(UsageError, match="at least 13 x 13"):
        alexnet_small(num_classes=4, input_CHW=(1, 12, 12))
