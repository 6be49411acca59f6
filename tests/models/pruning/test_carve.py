"""Entries that leave, with their gradients; what stays is where it was."""

import numpy as np
import pytest
import torch
from torch import nn

from configs.errors import InputError
from models.pruning import carve

KEPT = np.array([0, 2])
PLACES = {
    ("0.weight", 0): KEPT,
    ("0.bias", 0): KEPT,
    ("1.weight", 0): KEPT,
    ("1.bias", 0): KEPT,
    ("1.running_mean", 0): KEPT,
    ("1.running_var", 0): KEPT,
    ("2.weight", 0): KEPT,
    ("3.weight", 1): KEPT,
}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.PReLU(3), nn.Conv2d(3, 2, 1))


def test_what_stays_of_weights_statistics_and_gradients():
    net, whole = network(), network()
    for one in (net, whole):
        one(torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(1))).square().sum().backward()
    carve.carve(net, PLACES)
    for name, tensor in carve.tensors(whole):
        value = tensor
        for dim in range(tensor.dim()):
            if (name, dim) in PLACES:
                value = value.index_select(dim, torch.from_numpy(KEPT))
        assert torch.equal(carve.tensor(net, name), value), name
    assert net[0].weight.grad.shape == (2, 1, 3, 3)
    assert torch.equal(net[3].weight.grad, whole[3].weight.grad[:, KEPT])


def test_the_layers_numbers_follow_and_the_network_runs():
    net = network()
    carve.carve(net, PLACES)
    assert (net[0].out_channels, net[1].num_features, net[2].num_parameters, net[3].in_channels) == (2, 2, 2, 2)
    assert net(torch.randn(2, 1, 4, 4)).shape == (2, 2, 2, 2)


def test_parameters_that_change_are_new_objects_and_others_are_not():
    net = network()
    before = dict(net.named_parameters())
    carve.carve(net, PLACES)
    same = [name for name, parameter in net.named_parameters() if parameter is before[name]]
    assert same == ["3.bias"]


def test_tensors_of_one_layer_that_disagree_are_refused():
    with pytest.raises(InputError, match="must agree"):
        carve.carve(network(), {("1.weight", 0): KEPT})


def test_shared_tensors_have_all_their_names():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    assert [name for name, _ in carve.tensors(net)] == ["0.weight", "0.bias", "1.weight", "1.bias"]


def test_whole_groups_leave_a_grouped_convolution_and_a_group_norm():
    net = nn.Sequential(nn.Conv2d(8, 12, 1, groups=4), nn.GroupNorm(4, 12))
    before = net[0].weight.detach().clone()
    kept = np.array([0, 1, 2, 6, 7, 8])  # the first and the third of four groups
    places = [("0.weight", 0), ("0.bias", 0), ("1.weight", 0), ("1.bias", 0)]
    carve.carve(net, dict.fromkeys(places, kept))
    assert (net[0].groups, net[0].in_channels, net[0].out_channels) == (2, 4, 6)
    assert (net[1].num_groups, net[1].num_channels) == (2, 6)
    assert torch.equal(net[0].weight, before[kept])
    assert net(torch.zeros(1, 4, 2, 2)).shape == (1, 6, 2, 2)


def test_the_same_position_of_every_group_leaves_and_the_groups_stay():
    net = nn.Sequential(nn.Conv2d(8, 12, 1, groups=4))
    kept = np.array([0, 2, 3, 5, 6, 8, 9, 11])
    carve.carve(net, {("0.weight", 0): kept, ("0.bias", 0): kept})
    assert (net[0].groups, net[0].in_channels, net[0].out_channels) == (4, 8, 8)
