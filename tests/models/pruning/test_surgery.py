import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

import trait_networks
from configs.errors import InputError, NonFiniteError, UsageError
from models import counting
from models.pruning import planner, surgery
from models.pruning.spec import Budget, PruneSpec
from models.pruning.tracing import trace
from models.spec import ModelSpec
from models.zoo import build

NETWORKS = [
    ("resnet_small", (1, 16, 16)),
    ("depthwise", (3, 64, 64)),
    ("depthwise_v2", (3, 32, 32)),
    ("nin", (3, 32, 32)),
    ("torchvision/squeezenet1_1", (3, 32, 32)),
    ("timm/test_resnet", (3, 32, 32)),
    ("timm/test_efficientnet", (3, 32, 32)),
    ("timm/test_convnext", (3, 32, 32)),
    ("timm/test_vit", (3, 32, 32)),
]


def small(widths=(4, 6, 8)):
    torch.manual_seed(0)
    return build(ModelSpec(name="resnet_small", widths=widths, depth=8), num_classes=10, input_CHW=(1, 16, 16))


def half(net, input_CHW, **options):
    parameters = sum(p.numel() for p in net.parameters())
    spec = PruneSpec(budget=Budget(parameters=int(parameters * 0.6)), steps=2, **options)
    return planner.plan(net, input_CHW, spec)


def cut_of(net, input_CHW=(1, 16, 16), **options):
    return half(net, input_CHW, **options).cuts[0]


@pytest.mark.parametrize(("name", "size"), NETWORKS, ids=lambda value: value if isinstance(value, str) else "")
def test_two_cuts_leave_what_was_planned_and_the_network_still_trains(name, size):
    torch.manual_seed(0)
    net = build(ModelSpec(name=name), num_classes=10, input_CHW=size)
    start = sum(p.numel() for p in net.parameters())
    plan = half(net, size)
    for cut in plan.cuts:
        kept = surgery.apply(net, cut)
        assert net.training
        assert sum(p.numel() for p in net.parameters()) == cut.parameters
        assert kept.places
    assert 0.58 * start < plan.final.parameters <= 0.6 * start
    assert counting.measure(net, size).macs == plan.final.macs
    layers = dict(net.named_modules())
    assert {layer: layers[layer].weight.shape[0] for layer in plan.widths} == plan.final.widths
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    image_BCHW = torch.randn(4, *size)
    loss = nn.functional.cross_entropy(net(image_BCHW), torch.arange(4))
    loss.backward()
    optimizer.step()
    twin = copy.deepcopy(net).eval()
    assert twin(image_BCHW).shape == (4, 10)
    assert torch.isfinite(twin(image_BCHW)).all()


def test_attention_numbers_follow_and_both_kernels_agree():
    net = build(ModelSpec(name="timm/test_vit"), num_classes=10, input_CHW=(3, 32, 32)).eval()
    surgery.apply(net, half(net, (3, 32, 32)).cuts[0])
    attention = net.blocks[0].attn
    assert attention.attn_dim == attention.proj.in_features == attention.num_heads * attention.head_dim
    assert attention.qkv.out_features == 3 * attention.attn_dim
    image_BCHW = torch.randn(2, 3, 32, 32)
    fused_BK = net(image_BCHW)
    for block in net.blocks:
        block.attn.fused_attn = False
    assert torch.allclose(net(image_BCHW), fused_BK, atol=1e-5)
    attention.scale *= 1.5  # control: the plain kernel does read what was mended
    assert not torch.allclose(net(image_BCHW), fused_BK, atol=1e-5)


def test_what_stays_is_what_was_there():
    net = small()
    before = copy.deepcopy(net)
    cut = cut_of(net)
    kept = surgery.apply(net, cut)
    root = next(iter(cut.removed))
    stays = kept.indices(f"{root}.weight", 0)
    assert sorted({*stays.tolist(), *cut.removed[root]}) == list(range(before.get_submodule(root).out_channels))
    sliced = {name: kept.select(name, value) for name, value in before.state_dict().items()}
    assert sliced.keys() == net.state_dict().keys()
    assert all(torch.equal(value, sliced[name]) for name, value in net.state_dict().items())
    net.load_state_dict(sliced, strict=True)


def silenced(net, structure, cut):
    """Set everything to zero that makes the outputs which the cut removes."""
    kept = structure.kept(surgery._units(structure, cut))
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if (name, 0) in kept:
                dead = sorted(set(range(len(parameter))) - set(kept[name, 0].tolist()))
                parameter[dead] = 0


SILENCED = {
    "resnet_small": ((1, 16, 16), lambda: small((8, 12, 16))),
    "timm/test_efficientnet": ((3, 32, 32), None),
    **{
        name: (trait_networks.SIZE, trait_networks.NETWORKS[name])
        for name in (
            "flattened head",
            "grouped",
            "channel shuffle layer",
            "split halves",
            "dense block",
            "pixel shuffle",
        )
    },
}


@pytest.mark.parametrize("name", SILENCED)
def test_removing_silent_channels_changes_no_output(name):
    """Each index of each tied tensor is right, or the logits would differ."""
    torch.manual_seed(0)
    size, make = SILENCED[name]
    net = make() if make else build(ModelSpec(name=name), num_classes=10, input_CHW=size)
    net.eval()
    image_BCHW = torch.randn(4, *size)
    surgery.recalibrate(net, [image_BCHW])  # or the signal fades on its way through untrained layers
    cut = cut_of(net, size, importance="random")
    loud = copy.deepcopy(net)
    silenced(net, trace(net, size), cut)
    before_BK = net(image_BCHW)
    surgery.apply(net, cut)
    assert torch.allclose(net(image_BCHW), before_BK, atol=1e-5)
    before_BK = loud(image_BCHW)
    surgery.apply(loud, cut)  # control: without silence they count
    assert not torch.allclose(loud(image_BCHW), before_BK, atol=1e-5)


def test_attention_loses_the_same_channel_of_each_head_in_queries_keys_and_values():
    size = (3, 32, 32)
    net = build(ModelSpec(name="timm/test_vit"), num_classes=10, input_CHW=size).eval()
    others = [f"blocks.{i}.{layer}" for i in range(6) for layer in ("attn.proj", "mlp")]
    whole = sum(parameter.numel() for parameter in net.parameters())
    spec = PruneSpec(
        budget=Budget(parameters=int(0.95 * whole)),
        steps=1,
        importance="random",
        ignored_layers=("patch_embed", *others),
    )
    cut = planner.plan(net, size, spec).final
    assert set(cut.removed) == {f"blocks.{i}.attn.qkv" for i in range(6)}
    silenced(net, trace(net, size), cut)
    for block in net.blocks:
        block.attn.fused_attn = False
    scale = net.blocks[0].attn.scale
    image_BCHW = torch.randn(2, *size)
    before_BK = net(image_BCHW)
    surgery.apply(net, cut)
    assert not torch.allclose(net(image_BCHW), before_BK, atol=1e-5)  # control: attention is divided by sqrt(head_dim)
    for block in net.blocks:
        block.attn.scale = scale
    assert torch.allclose(net(image_BCHW), before_BK, atol=1e-5)


def test_modes_devices_frozen_parameters_and_gradients_survive():
    net = small()
    net.bn1.eval()
    net.fc.weight.requires_grad_(False)
    net(torch.randn(4, 1, 16, 16)).sum().backward()
    gradient = net.layer1[0].conv1.weight.grad.clone()
    kept = surgery.apply(net, cut_of(net))
    assert not net.bn1.training
    assert net.layer1.training
    assert not net.fc.weight.requires_grad
    assert torch.equal(net.layer1[0].conv1.weight.grad, kept.select("layer1.0.conv1.weight", gradient))


def test_a_cut_of_another_network_is_refused_before_anything_changes():
    net, cut = small((8, 12, 16)), cut_of(small())
    own, before = cut_of(net), surgery.architecture_hash(net)
    wrong = [
        cut,
        replace(own, parameters=own.parameters + 1),
        replace(own, removed={"fc": (0, 1)}),
        replace(own, removed={"conv1": (99,)}),
        replace(own, removed={"conv1": tuple(range(8))}),
    ]
    for other in wrong:
        with pytest.raises(InputError, match="the cut does not fit this network"):
            surgery.apply(net, other)
        assert surgery.architecture_hash(net) == before
    surgery.apply(net, own)  # control
    assert surgery.architecture_hash(net) != before


def test_weights_that_are_not_finite_are_noticed():
    net = small()
    cut = cut_of(net)
    with torch.no_grad():
        net.fc.bias[0] = torch.nan
    with pytest.raises(NonFiniteError, match="not finite"):
        surgery.apply(net, cut)


def test_foreign_names_and_shapes_are_refused():
    net = small()
    state = net.state_dict()
    kept = surgery.apply(net, cut_of(net))
    with pytest.raises(InputError, match=r"has no tensor module\.conv1\.weight"):
        kept.select("module.conv1.weight", state["conv1.weight"])
    with pytest.raises(InputError, match=r"conv1\.weight is .* before the cut"):
        kept.select("conv1.weight", state["conv1.weight"][:1])


def test_the_hash_is_of_names_and_shapes_only():
    net, other = small(), small()
    with torch.no_grad():
        other.fc.bias += 1
    assert surgery.architecture_hash(net) == surgery.architecture_hash(other)
    surgery.apply(other, cut_of(other))
    assert surgery.architecture_hash(net) != surgery.architecture_hash(other)


def test_statistics_are_the_mean_over_batches():
    net = nn.Sequential(nn.BatchNorm2d(2), nn.Dropout(0.9), nn.Conv2d(2, 3, 1))
    net[0].eval()
    weights = copy.deepcopy(net[2].state_dict())
    batches = [torch.randn(8, 2, 4, 4) + shift for shift in (0.0, 2.0, 4.0)]
    surgery.recalibrate(net, batches)
    means_NC = torch.stack([batch.mean((0, 2, 3)) for batch in batches])
    assert torch.allclose(net[0].running_mean, means_NC.mean(0), atol=1e-6)
    assert net[0].momentum == 0.1
    assert [module.training for module in net] == [False, True, True]
    assert all(torch.equal(value, weights[name]) for name, value in net[2].state_dict().items())
    mean = net[0].running_mean.clone()
    with pytest.raises(UsageError, match="no batch"):
        surgery.recalibrate(net, [])
    assert torch.equal(net[0].running_mean, mean)


class Caching(nn.Module):
    """Keeps a result in evaluation mode and drops it in train(), as LeViT does with its position biases."""

    def __init__(self):
        super().__init__()
        self.bias, self.kept = nn.Parameter(torch.zeros(3)), {}

    def train(self, mode=True):
        if mode:
            self.kept = {}
        return super().train(mode)

    def forward(self, logits_BK):
        if self.training:
            return logits_BK + self.bias
        return logits_BK + self.kept.setdefault("bias", self.bias * 1)


def test_evaluating_leaves_no_results_of_old_weights_behind():
    net = nn.Sequential(nn.Conv2d(1, 3, 1), nn.Flatten(), Caching())
    image_BCHW = torch.randn(1, 1, 1, 1)
    with surgery.evaluating(net), torch.no_grad():
        before_BK = net(image_BCHW)
    with torch.no_grad():
        net[2].bias.fill_(1)
        assert not torch.allclose(net.eval()(image_BCHW), before_BK)
