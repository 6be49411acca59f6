import numpy as np
import pytest
import torch
import torch_pruning as tp
from torch import nn

from configs.errors import NonFiniteError, UsageError
from models.networks.resnet import resnet_small
from models.pruning.importance import MEASURES, scores
from models.pruning.spec import IMPORTANCES, Budget, PruneSpec
from models.pruning.tracing import trace

SIZE = (1, 2, 2)


class Tiny(nn.Module):
    """One group of two channels: a convolution's rows, its BatchNorm, and a linear layer's columns."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1)
        self.bn = nn.BatchNorm2d(2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(2, 3)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([1.0, -3.0]).reshape(2, 1, 1, 1))
            self.conv.bias.fill_(5.0)
            self.bn.weight.copy_(torch.tensor([0.5, -2.0]))
            self.fc.weight.copy_(torch.tensor([[1.0, 0.0], [1.0, -1.0], [-2.0, 0.0]]))

    def forward(self, image_BCHW):
        return self.fc(self.pool(self.bn(self.conv(image_BCHW))).flatten(1))


def score(net, importance, size=SIZE):
    spec = PruneSpec(budget=Budget(parameters=1), importance=importance)
    return scores(net, trace(net, size), spec)


def test_every_importance_has_its_measure():
    assert {*MEASURES, "random"} == set(IMPORTANCES)


@pytest.mark.parametrize(
    ("importance", "raw"),
    [
        ("l1", [(1 + 0.5 + 4) / 3, (3 + 2 + 1) / 3]),
        ("l2", [(1 + 0.25 + 6) / 3, (9 + 4 + 1) / 3]),
        ("bn_scale", [0.5, 2.0]),
    ],
)
def test_scores_are_the_mean_over_tied_tensors_divided_by_the_groups_mean(importance, raw):
    (found_U,) = score(Tiny(), importance)
    assert np.allclose(found_U, np.array(raw) / np.mean(raw), rtol=1e-12)


def test_taylor_is_weight_times_gradient_of_every_parameter():
    net = Tiny()
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    # conv weight, conv bias, BatchNorm scale, BatchNorm shift (zero), the linear layer's columns
    raw = np.array([(1 + 5 + 0.5 + 0 + 4) / 5, (3 + 5 + 2 + 0 + 1) / 5])
    assert np.allclose(score(net, "taylor")[0], raw / raw.mean(), rtol=1e-12)
    net.bn.weight.grad = torch.tensor([1000.0, 0.0])  # torch-pruning's own leaves BatchNorm out
    assert score(net, "taylor")[0][0] > score(net, "taylor")[0][1]


def test_random_scores_depend_on_the_seed_alone():
    net = Tiny()
    first, again = score(net, "random"), score(net, "random")
    spec = PruneSpec(budget=Budget(parameters=1), importance="random", seed=1)
    other = scores(net, trace(net, SIZE), spec)
    assert np.array_equal(first[0], again[0])
    assert not np.array_equal(first[0], other[0])
    assert ((first[0] >= 0) & (first[0] < 1)).all()


@pytest.mark.parametrize("p", [1, 2])
def test_norms_agree_with_torch_prunings(p):
    net = resnet_small(num_classes=10, input_CHW=(1, 16, 16), depth=8).eval()
    graph = tp.DependencyGraph().build_dependency(net, torch.zeros(2, 1, 16, 16))
    reference = tp.importance.GroupMagnitudeImportance(p=p)
    structure = trace(net, (1, 16, 16))
    for group, ours_U in zip(structure.groups, score(net, f"l{p}", size=(1, 16, 16)), strict=True):
        root = net.get_submodule(group.root)
        theirs = reference(graph.get_pruning_group(root, tp.prune_conv_out_channels, list(range(root.out_channels))))
        assert np.allclose(ours_U, theirs.numpy(), rtol=1e-5)


def test_what_cannot_be_scored_is_said():
    with pytest.raises(UsageError, match=r"taylor, but conv\.weight has no gradient"):
        score(Tiny(), "taylor")
    plain = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Flatten(), nn.Linear(16, 3))
    with pytest.raises(UsageError, match="bn_scale, but no layer that can be cut has a BatchNorm"):
        score(plain, "bn_scale")
    net = Tiny()
    with torch.no_grad():
        net.conv.weight[0] = torch.inf
    with pytest.raises(NonFiniteError, match="importance of layer conv is inf"):
        score(net, "l1")


def test_layers_without_batchnorm_are_left_out_of_bn_scale():
    net = nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.Flatten(), nn.Linear(16, 3))
    assert [found is None for found in score(net, "bn_scale")] == [False, True]
