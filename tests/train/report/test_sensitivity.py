"""What each layer is worth."""

from __future__ import annotations

import gc
import weakref

import torch

from models.networks import architectures
from models.pruning.tracing import trace
from models.spec import ModelSpec
from train.report import sensitivity


def test_each_group_loses_a_fifth_alone_and_the_network_stays() -> None:
    spec = ModelSpec(name="resnet_small", depth=8, widths=(5, 10, 10))
    net = architectures.build(spec, num_classes=3, input_CHW=(1, 8, 8), code_sha256=None).eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    structure = trace(net, (1, 8, 8))
    found = list(sensitivity._cuts(net, structure))
    assert [root for root, *_ in found] == [group.root for group in structure.groups]
    for root, units, gone, twin in found:
        assert len(gone) == max(units // 5, 1)
        width = structure.widths[root]
        assert twin.get_submodule(root).weight.shape[0] == width - len(gone)
        others = [layer for layer in structure.widths if layer not in _with(structure, root)]
        assert all(twin.get_submodule(layer).weight.shape[0] == structure.widths[layer] for layer in others)
        assert twin(torch.zeros(2, 1, 8, 8)).shape == (2, 3)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_one_copy_of_the_network_is_held_at_a_time() -> None:
    spec = ModelSpec(name="resnet_small", depth=8, widths=(5, 10, 10))
    net = architectures.build(spec, num_classes=3, input_CHW=(1, 8, 8), code_sha256=None).eval()
    copies = []
    for *_, twin in sensitivity._cuts(net, trace(net, (1, 8, 8))):
        copies.append(weakref.ref(twin))
        del twin
        gc.collect()
        assert sum(copy() is not None for copy in copies) <= 1  # that of the generator
    assert len(copies) > 2


def _with(structure, root: str) -> tuple[str, ...]:
    return next(group.layers for group in structure.groups if group.root == root)
