import pytest
import torch
import torchinfo
from torch import nn

from configs.errors import UsageError
from models.networks.nin import nin

SIZE = (3, 32, 32)


def test_it_is_the_published_student():
    table = str(torchinfo.summary(nin(num_classes=10, input_CHW=SIZE), (1, *SIZE), verbose=0))
    assert "Total params: 966,986\n" in table
    assert any(line.startswith("Total mult-adds") and line.endswith(": 223.12") for line in table.splitlines())


def test_logits_have_both_signs():
    torch.manual_seed(0)
    logits = nin(num_classes=10, input_CHW=SIZE).eval()(torch.randn(8, *SIZE))
    assert (logits < 0).any()
    assert (logits > 0).any()


def test_the_signal_neither_dies_nor_explodes():
    torch.manual_seed(0)
    net = nin(num_classes=10, input_CHW=SIZE).eval()
    images = torch.randn(4, *SIZE)
    ours = net.layer3(net.pool2(net.layer2(net.pool1(net.layer1(images))))).std()
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            layer.reset_parameters()
    default = net.layer3(net.pool2(net.layer2(net.pool1(net.layer1(images))))).std()
    assert 0.03 < ours < 10
    assert default < ours / 10  # PyTorch's own start: why ours exists


def test_widths_and_dropout_reach_the_layers():
    net = nin(num_classes=5, input_CHW=(1, 28, 28), widths=(8, 7, 6, 5, 4, 3, 2, 9), dropout=0.25)
    assert [m.out_channels for m in net.modules() if isinstance(m, nn.Conv2d)] == [8, 7, 6, 5, 4, 3, 2, 9, 5]
    assert {m.p for m in net.modules() if isinstance(m, nn.Dropout)} == {0.25}
    assert net(torch.zeros(2, 1, 28, 28)).shape == (2, 5)


def test_wrong_number_of_widths_is_refused():
    with pytest.raises(UsageError, match="nin takes 8 widths, not 3"):
        nin(num_classes=10, input_CHW=SIZE, widths=(8, 8, 8))
