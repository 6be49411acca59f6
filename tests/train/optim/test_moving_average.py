"""The moving average of weights, against timm's."""

import torch
from timm.utils import ModelEmaV3
from torch import nn

from train.optim.moving_average import MovingAverage


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.LazyLinear(3))


def test_the_same_bits_as_timm_with_its_warm_up():
    torch.manual_seed(0)
    net = network()
    net(torch.randn(4, 1, 6, 6))
    ours, theirs = MovingAverage(net, 0.8), ModelEmaV3(net, decay=0.8, use_warmup=True)
    for step in range(1, 30):
        net(torch.randn(4, 1, 6, 6))  # statistics of BatchNorm, and its count of batches
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(torch.randn_like(parameter))
        ours.update(net, step)
        theirs.update(net, step)
        for name, value in theirs.module.state_dict().items():
            assert torch.equal(ours.module.state_dict()[name], value), (step, name)
        if step == 1:
            assert torch.equal(ours.module[0].weight, net[0].weight)
    assert ours.module[1].num_batches_tracked == 30
    assert not torch.equal(ours.module[0].weight, net[0].weight)
    assert not ours.module.training and net.training


def test_a_weight_under_two_names_is_averaged_once():
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    net[1].weight = net[0].weight
    for parameter in net.parameters():
        nn.init.zeros_(parameter)
    average = MovingAverage(net, 0.9)
    for parameter in net.parameters():
        nn.init.ones_(parameter)
    average.update(net, 100)
    tied, free = average.module[0].weight, average.module[2].weight
    assert average.module[1].weight is tied
    assert torch.allclose(free, torch.full_like(free, 0.1)) and torch.equal(tied, free)
