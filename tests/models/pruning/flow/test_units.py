import torch
from torch import nn

from models.pruning import carve
from models.pruning.flow import units
from models.pruning.flow.run import follow
from models.pruning.groups import KEPT
from models.pruning.tracing import trace
from trait_networks import NETWORKS, SIZE


def found(net, barred=()):
    net = net.eval()
    flow = follow(net, torch.zeros(2, 3, 4, 4), carve.tensors(net))
    groups = units.groups(net, flow.ledger, flow.ledger.components(), dict.fromkeys(barred, "barred"))
    return flow.ledger, {group.root: group for group in groups}


class Joined(nn.Module):
    """Two convolutions, one of them transposed, whose outputs are concatenated."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 1), nn.ConvTranspose2d(3, 5, 1)
        self.norm, self.last = nn.BatchNorm2d(9), nn.Conv2d(9, 2, 1)

    def forward(self, image):
        return self.last(self.norm(torch.cat([self.one(image), self.two(image)], 1)))


def test_units_that_touch_the_same_tensors_are_one_group():
    _, groups = found(Joined())
    assert {root: group.units for root, group in groups.items()} == {"one": 4, "two": 5}
    assert (groups["one"].root_dim, groups["two"].root_dim) == (0, 1)
    norm = next(member for member in groups["two"].members if member.tensor == "norm.weight")
    assert norm.owner_I.tolist() == [KEPT] * 4 + [0, 1, 2, 3, 4]
    assert groups["two"].channels([1, 2]) == (1, 2)
    kinds = {member.tensor: member.kind for member in groups["one"].members}
    assert kinds["norm.weight"] == "batch_norm"
    assert kinds["norm.running_var"] == "statistic"


def test_a_barred_tensor_keeps_its_group_and_says_why():
    ledger, groups = found(Joined(), ["one.bias"])
    assert groups.keys() == {"two"}
    assert "barred" in ledger.reasons().values()


def test_tensors_of_unknown_layers_keep_what_they_read():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.rnn = nn.Conv2d(3, 4, 1), nn.LSTM(4, 5, batch_first=True)

        def forward(self, image):
            return self.rnn(self.conv(image).flatten(2).mT)[0][:, -1]

    ledger, groups = found(Recurrent())
    assert groups == {}
    assert any("LSTM" in why or "rnn" in why for why in ledger.reasons().values())


def test_a_module_that_is_used_twice_has_members_under_both_names():
    block = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    _, groups = found(nn.Sequential(nn.Conv2d(3, 3, 1), block, block, nn.Conv2d(3, 2, 1)))
    assert {"1.0.weight", "2.0.weight"} <= {member.tensor for member in groups["0"].members}


def test_layers_that_follow_others():
    assert units.follows(nn.GroupNorm(2, 4))
    assert not units.follows(nn.Linear(2, 2))
    assert not units.follows(nn.LSTM(2, 2))


def test_a_gain_beside_the_weight_is_cut_with_it_and_what_a_weight_is_computed_from_is_not():
    gained, computed = NETWORKS["a gain beside the weight"](), NETWORKS["weight_norm"]()
    members = {group.root: {m.tensor for m in group.members} for group in trace(gained, SIZE).groups}
    assert {"a.weight", "a.gain", "a.bias"} <= members["a"]
    assert "a" not in {group.root for group in trace(computed, SIZE).groups}  # the control
