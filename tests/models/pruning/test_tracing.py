import copy
import gc
import weakref

import pytest
import torch
from torch import nn

import trait_networks
from configs.errors import InputError, UsageError
from models import counting
from models.networks.architectures import build
from models.networks.resnet import resnet_small
from models.pruning.tracing import trace
from models.spec import ModelSpec
from models.taps import Taps

SIZE = (1, 16, 16)


def small():
    return resnet_small(num_classes=10, input_CHW=SIZE, depth=8, widths=(4, 6, 8))


def overwriting():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 6, 1),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(216, 3),
    )


def test_groups_tie_what_is_added_and_come_in_the_order_of_the_layers():
    structure = trace(small(), SIZE)
    assert [(group.root, group.units) for group in structure.groups] == [
        ("conv1", 4),
        ("layer1.0.conv1", 4),
        ("layer2.0.conv1", 6),
        ("layer2.0.conv2", 6),
        ("layer3.0.conv1", 8),
        ("layer3.0.conv2", 8),
    ]
    assert structure.groups[0].layers == ("conv1", "layer1.0.conv2")
    assert {member.tensor for member in structure.groups[1].members} == {
        "layer1.0.conv1.weight",
        "layer1.0.conv2.weight",
        *(f"layer1.0.bn1.{name}" for name in ("weight", "bias", "running_mean", "running_var")),
    }
    assert structure.classes == 10
    assert "fc" not in structure.widths


def test_an_inplace_relu_hides_no_layer():
    net = build(ModelSpec(name="nin"), num_classes=10, input_CHW=(3, 32, 32))
    for layer in net.modules():
        if isinstance(layer, nn.ReLU):
            layer.inplace = True
    assert len(trace(net, (3, 32, 32)).groups) == 8


def test_the_head_is_spared_by_itself_and_said_to_be():
    structure = trace(small(), SIZE)
    assert all("fc" not in group.layers for group in structure.groups)
    assert structure.whole == {"fc": "it is the network's output"}


def test_a_convolution_can_be_the_head():
    structure = trace(build(ModelSpec(name="nin"), num_classes=10, input_CHW=(3, 32, 32)), (3, 32, 32))
    assert "head" not in structure.widths
    assert structure.widths.keys() == {f"layer{i}.{j}" for i in (1, 2, 3) for j in (0, 2, 4)} - {"layer3.4"}
    assert structure.classes == 10


def test_named_layers_and_blocks_keep_their_outputs():
    widths = trace(small(), SIZE).widths
    one = trace(small(), SIZE, ["layer2.0.conv1"]).widths
    assert widths.keys() - one.keys() == {"layer2.0.conv1"}
    block = trace(small(), SIZE, ["layer1"]).widths
    assert widths.keys() - block.keys() == {"conv1", "layer1.0.conv1", "layer1.0.conv2"}
    with pytest.raises(UsageError, match=r"names 'layer9'; .*the layers are conv1, layer1\.0\.conv1"):
        trace(small(), SIZE, ["layer9"])
    with pytest.raises(InputError, match="no layer that can be cut"):
        trace(small(), SIZE, ["conv1", "layer1", "layer2", "layer3"])


def test_analytic_counts_are_the_real_ones():
    for name, size in (("depthwise_v2", (3, 32, 32)), ("timm/test_efficientnet", (3, 32, 32))):
        net = build(ModelSpec(name=name), num_classes=10, input_CHW=size)
        cost, structure = counting.measure(net, size), trace(net, size)
        assert structure.prices.constant_B.tolist() == [cost.parameters, cost.macs]
        assert structure.other_macs == 0


def test_what_cannot_be_cut_soundly_is_left_alone():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(1, 8, 1)
            self.grouped = nn.Conv2d(8, 8, 1, groups=2)
            self.free = nn.Conv2d(8, 8, 1)
            self.written = nn.Conv2d(8, 8, 1)
            self.input = nn.Conv2d(8, 1, 1)
            self.fc = nn.Linear(4, 3)

        def forward(self, image_BCHW):
            map_BCHW = self.written(self.free(self.grouped(self.first(image_BCHW))))
            map_BCHW = map_BCHW.reshape(-1, 8, 2, 2)  # a width in the code
            return self.fc((self.input(map_BCHW) + image_BCHW).flatten(1))

    structure = trace(Odd(), (1, 2, 2))
    assert structure.widths == {"first": 8, "grouped": 8, "free": 8}
    assert structure.whole["written"] == "a forward has its width in the code"


def test_tied_weights_are_left_alone():
    net = nn.Sequential(
        nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 6, 1), nn.Conv2d(6, 4, 1), nn.Flatten(), nn.Linear(16, 3)
    )
    assert trace(net, (4, 2, 2)).widths == {"0": 4, "1": 4, "2": 6, "3": 4}
    net[1].weight = net[0].weight
    assert trace(net, (4, 2, 2)).widths == {"2": 6, "3": 4}


def test_nothing_of_the_network_changes():
    net = small()
    net.bn1.eval()
    net.fc.weight.requires_grad_(False)
    before = copy.deepcopy(net.state_dict())
    with Taps(net, ["layer1"]) as taps:
        net(torch.zeros(2, *SIZE))
        trace(net, SIZE)
        assert taps.take()["layer1"].shape == (2, 4, 16, 16)
    assert (net.training, net.bn1.training, net.fc.weight.requires_grad) == (True, False, False)
    trace(net, SIZE)
    after = net.state_dict()
    del before["bn1.num_batches_tracked"]
    assert torch.equal(after["conv1.weight"], before["conv1.weight"])


def test_a_trace_keeps_no_network_and_no_state():
    net, other = small(), build(ModelSpec(name="timm/test_convnext"), num_classes=10, input_CHW=(3, 32, 32))
    first = trace(net, SIZE)
    trace(other, (3, 32, 32))
    again = trace(net, SIZE)
    assert [group.root for group in first.groups] == [group.root for group in again.groups]
    assert first.prices.coupling_BGG.tolist() == again.prices.coupling_BGG.tolist()
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None


def test_a_wrong_image_is_refused():
    with pytest.raises(InputError, match="does not take an image of 3 x 16 x 16"):
        trace(small(), (3, 16, 16))


def test_a_network_that_keeps_results_of_its_forward_is_traced():
    net = trait_networks.NETWORKS["features cached in lists"]()
    net(torch.zeros(2, *trait_networks.SIZE))
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(net)
    assert len(trace(net, trait_networks.SIZE).groups) == 3
