from dataclasses import replace

import numpy as np
import torch
from torch import nn

from models import counting
from models.networks.depthwise import depthwise_v2
from models.networks.resnet import resnet_small
from models.pruning.carve import carve
from models.pruning.groups import IGNORED, OUTPUT
from models.pruning.tracing import trace

SIZE = (1, 16, 16)


def small():
    torch.manual_seed(0)
    return resnet_small(num_classes=10, input_CHW=SIZE, depth=8, widths=(4, 6, 8))


def test_the_formula_counts_every_state_exactly():
    net = depthwise_v2(num_classes=10, input_CHW=(3, 32, 32))
    structure = trace(net, (3, 32, 32))
    generator = np.random.default_rng(0)
    removed_G = np.array([generator.integers(0, group.units) for group in structure.groups])
    removed = {group.root: tuple(range(k)) for group, k in zip(structure.groups, removed_G, strict=True)}
    predicted = structure.prices.count(removed_G).tolist()
    carve(net, structure.kept(removed))
    cost = counting.measure(net, (3, 32, 32))
    assert predicted == [cost.parameters, cost.macs]
    removed_G[0] += 1  # control
    assert structure.prices.count(removed_G).tolist() != predicted


def test_savings_are_differences_of_counts():
    structure = trace(small(), SIZE)
    removed_G, more_G = np.array([1, 0, 2, 0, 3, 1]), np.array([2, 1, 1, -0, -1, 3])
    savings_BG = structure.prices.savings(removed_G, more_G)
    for index, more in enumerate(more_G):
        then_G = removed_G.copy()
        then_G[index] += more
        difference_B = structure.prices.count(removed_G) - structure.prices.count(then_G)
        assert savings_BG[:, index].tolist() == difference_B.tolist()


def test_the_structure_after_a_cut_is_the_one_a_new_trace_finds():
    net = small()
    structure = trace(net, SIZE)
    removed = {"conv1": (0, 2), "layer3.0.conv2": (1, 2, 7), "layer2.0.conv1": (5,)}
    carve(net, structure.kept(removed))
    after, anew = structure.after(removed), trace(net, SIZE)
    assert after.shapes == anew.shapes
    assert after.widths == anew.widths
    for ours, theirs in zip(after.groups, anew.groups, strict=True):
        assert (ours.root, ours.units) == (theirs.root, theirs.units)
        for one, other in zip(ours.members, theirs.members, strict=True):
            assert one.place == other.place
            assert one.owner_I.tolist() == other.owner_I.tolist()


def test_units_and_channels_translate_both_ways():
    group = trace(small(), SIZE).groups[0]
    assert group.channels((1, 3)) == (1, 3)
    assert group.units_of((1, 3)) == (1, 3)
    assert [group.units_of(wrong) for wrong in ((), (4,), (-1,))] == [None, None, None]


def test_what_is_not_cut_is_named_with_its_reason_but_not_the_head():
    structure = trace(small(), SIZE)
    assert structure.excuse == ""
    other = replace(structure, whole={"fc": OUTPUT, "conv1": IGNORED, "rnn": "LSTM is not cut"})
    assert other.excuse == "; not cut: rnn (LSTM is not cut)"


def test_a_transposed_root_counts_its_outputs_along_the_second_dimension():
    net = nn.Sequential(nn.ConvTranspose2d(1, 6, 2), nn.Conv2d(6, 4, 1), nn.Flatten(), nn.LazyLinear(3))
    net(torch.zeros(1, 1, 4, 4))
    structure = trace(net, (1, 4, 4))
    assert structure.widths == {"0": 6, "1": 4}
    group = structure.groups[0]
    assert group.channels([1, 3]) == (1, 3)
    after = structure.after({"0": (1, 3)})
    carve(net, structure.kept({"0": (1, 3)}))
    assert after.widths["0"] == net[0].out_channels == 4
    assert counting.measure(net, (1, 4, 4)).macs == after.prices.constant_B[1]
