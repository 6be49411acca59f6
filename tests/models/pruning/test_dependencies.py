import copy

import pytest
import torch
import torch_pruning as tp
from torch import nn

from configs.errors import InputError
from models.networks.architectures import build
from models.pruning import dependencies
from models.spec import ModelSpec


def found(graph):
    """What every group holds, by layer and operation: the indices along that dimension."""
    names = {id(item): name for name, item in [*graph.model.named_modules(), *graph.model.named_parameters()]}
    groups = []
    for group in graph.get_all_groups(root_module_types=[nn.Conv2d, nn.Linear]):
        items = {}
        for item in group:
            layer = names.get(id(item.dep.target.module))
            if layer is not None:
                items[layer, item.dep.handler.__name__] = sorted(item.idxs)
        groups.append(items)
    return groups


@pytest.mark.parametrize(
    ("name", "size"),
    [("resnet_small", (1, 16, 16)), ("timm/ghostnet_050", (3, 32, 32)), ("timm/test_vit", (3, 32, 32))],
)
def test_groups_are_the_librarys_own(name, size):
    net = build(ModelSpec(name=name), num_classes=10, input_CHW=size).to("meta")
    image_BCHW = torch.empty(2, *size, device="meta")
    ours = found(dependencies.build(net, image_BCHW))
    theirs = found(tp.DependencyGraph().build_dependency(copy.deepcopy(net), image_BCHW, verbose=False))
    assert ours == theirs
    assert len(ours) > 5


def test_indices_that_go_round_in_circles_are_noticed():
    net = build(ModelSpec(name="timm/efficientvit_m0"), num_classes=10, input_CHW=(3, 64, 64)).to("meta")
    graph = dependencies.build(net, torch.empty(2, 3, 64, 64, device="meta"))
    with pytest.raises(OverflowError, match=r"an index of .* where no tensor is longer than 512"):
        list(graph.get_all_groups())


def test_paths_that_part_and_join_are_not_walked_one_by_one():
    net = build(ModelSpec(name="timm/efficientformerv2_s0"), num_classes=10, input_CHW=(3, 64, 64)).to("meta")
    graph = dependencies.build(net, torch.empty(2, 3, 64, 64, device="meta"))
    assert len(list(graph.get_all_groups())) > 20  # the library by itself takes 20 GB, and minutes


def test_what_the_library_cannot_follow_is_one_sentence():
    net = build(ModelSpec(name="torchvision/shufflenet_v2_x0_5"), num_classes=10, input_CHW=(3, 32, 32)).to("meta")
    with pytest.raises(InputError, match=r"torch-pruning cannot follow this network .*prune\.kind unstructured"):
        dependencies.build(net, torch.empty(2, 3, 32, 32, device="meta"))
