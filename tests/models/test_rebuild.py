import json
import math
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from configs.errors import InputError, UsageError
from models import artefact_file, rebuild, sparse, zoo
from models.artefact import Card, load, read_card, save
from models.counting import measure
from models.networks import architectures
from models.spec import ModelSpec

CLASSES = ("bag", "boot", "coat")
SMALL, PATCHED, PHOTO = (1, 28, 28), (1, 32, 32), (3, 64, 64)
NETWORKS = {
    "resnet_small": SMALL,
    "depthwise": PHOTO,
    "depthwise_v2": SMALL,
    "nin": SMALL,
    "torchvision/squeezenet1_1": SMALL,
    "torchvision/mobilenet_v2": SMALL,
    "timm/mobilenetv3_small_050": SMALL,
    "timm/test_resnet": SMALL,
    "timm/test_efficientnet": SMALL,
    "timm/test_convnext": SMALL,
    "timm/test_vit": PATCHED,
}


def architecture(name, size):
    torch.manual_seed(0)
    return zoo.build(ModelSpec(name=name), num_classes=len(CLASSES), input_CHW=size)


def cut(name, size, *, ratio=0.4):
    """Build a network and cut it with Torch-Pruning: batches of two, the head spared, heads' sizes mended by hand."""
    import torch_pruning as tp

    net = architecture(name, size)
    image_BCHW = torch.randn(2, *size)
    net(image_BCHW)  # BatchNorm statistics of its own
    net.eval()
    attention = {layer.qkv: layer.num_heads for layer in net.modules() if hasattr(layer, "qkv")}
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    # A first convolution that is depthwise would lose channels of the image itself.
    spared = [layers[-1], *(layers[:1] if layers[0].groups > 1 else ())]
    pruner = tp.pruner.BasePruner(
        net,
        image_BCHW,
        importance=tp.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=ratio,
        ignored_layers=spared,
        num_heads=attention,
        prune_head_dims=False,
        prune_num_heads=bool(attention),
        head_pruning_ratio=0.34 if attention else 0,
    )
    pruner.step()
    for layer in net.modules():
        if hasattr(layer, "qkv"):
            layer.num_heads = pruner.num_heads[layer.qkv]
            layer.attn_dim = layer.qkv.out_features // 3
            layer.head_dim = layer.attn_dim // layer.num_heads
            layer.scale = layer.head_dim**-0.5
    return net


def card_of(net, name, size, **fields):
    return Card(
        model=ModelSpec(name=name),
        classes=CLASSES,
        input_CHW=size,
        mean=(0.5,) * size[0],
        std=(0.25,) * size[0],
        eval_crop=1.0,
        cost=measure(net, size),
        **{"pruned": True, **fields},
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path, net = tmp_path_factory.mktemp("pruned") / "p.safetensors", cut("resnet_small", SMALL)
    card = card_of(net, "resnet_small", SMALL)
    save(path, net, card)
    return path, net, card


@pytest.fixture
def pruned(written, tmp_path):
    """A file of its own for each test, and the network that all of them read."""
    path, net, card = written
    return Path(shutil.copy(path, tmp_path)), net, card


@pytest.mark.parametrize("name", NETWORKS)
def test_a_cut_network_comes_back_bit_for_bit(tmp_path, name):
    size = NETWORKS[name]
    net = cut(name, size)
    whole = sum(p.numel() for p in architecture(name, size).parameters())
    card = card_of(net, name, size)
    assert card.cost.parameters < 0.9 * whole
    save(tmp_path / "p.safetensors", net, card)
    loaded, read = load(tmp_path / "p.safetensors")
    image_BCHW = torch.randn(3, *size)
    assert torch.equal(loaded(image_BCHW), net.eval()(image_BCHW))
    assert measure(loaded, size) == card.cost == read.cost
    for mine, theirs in zip(loaded.modules(), net.modules(), strict=True):
        assert rebuild._numbers(mine) == rebuild._numbers(theirs)
    loaded.train()(image_BCHW).sum().backward()
    assert all(p.grad is None or p.grad.shape == p.shape for p in loaded.parameters())


def rewrite(path, *, tensors=None, **card):
    """Write the file again with other tensors or another card, and a digest that is right for them."""
    with safetensors.safe_open(path, framework="pt") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = json.loads(file.metadata()["heartcut"])
    stored |= tensors or {}
    fields = header["card"] | card
    unpacked = sparse.unpack(stored, header["packed"])
    header |= {"card": fields, "digest": artefact_file.digest(fields, unpacked)}
    safetensors.torch.save_file(stored, path, metadata={"heartcut": json.dumps(header)})


def test_a_fresh_process_loads_it_without_train_and_without_the_library_that_cut_it(pruned):
    path, net, _ = pruned
    script = (
        "import sys\nsys.modules['torch_pruning'] = None\nimport torch\nfrom models.artefact import load\n"
        f"print(load({str(path)!r})[0](torch.ones(1, *{SMALL})).double().tolist())\n"
        "sys.exit(any(m == 'train' or m.startswith('train.') for m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == net.eval()(torch.ones(1, *SMALL)).double().tolist()


def test_what_shapes_do_not_tell_is_in_the_card(tmp_path):
    name, path = "timm/test_vit", tmp_path / "v.safetensors"
    net = cut(name, PATCHED)
    save(path, net, card_of(net, name, PATCHED))
    card = read_card(path)
    assert set(card.attributes) == {f"blocks.{block}.attn" for block in range(6)}
    assert card.attributes["blocks.0.attn"] == {"num_heads": 1, "attn_dim": 32}
    rewrite(path, attributes={})  # the control: without them there is no network
    with pytest.raises(InputError, match=r"do not fit together at or after blocks\.0\.attn\.qkv"):
        load(path)


def test_what_only_the_outputs_betray_is_noticed_when_saving(tmp_path, monkeypatch):
    name, path = "timm/test_vit", tmp_path / "v.safetensors"
    net = architecture(name, PATCHED)
    card = card_of(net, name, PATCHED)
    save(path, net, card)
    for block in net.blocks:  # the same 64 features, in other heads
        block.attn.num_heads, block.attn.head_dim = 1, 64
    with pytest.raises(UsageError, match=r"head_dim of layer 'blocks\.0\.attn' is 64; the uncut network has 32"):
        save(path, net, card)
    monkeypatch.setattr(rebuild, "differences", lambda *_: {})
    with pytest.raises(UsageError, match="gives other outputs than this network"):
        save(path, net, card)


def test_a_cut_that_the_card_does_not_mention_is_refused(pruned):
    path, net, card = pruned
    with pytest.raises(UsageError, match=r"does not rebuild this network: conv1\.weight is \[9"):
        save(path, net, replace(card, pruned=False))
    assert load(path)[1] == card
    rewrite(path, pruned=False)
    with pytest.raises(InputError, match=r"does not fit the network it names, .* conv1\.weight is \[9"):
        load(path)


def test_attributes_belong_to_a_pruned_network(pruned):
    with pytest.raises(UsageError, match="only a pruned network has them"):
        replace(pruned[2], pruned=False, attributes={"conv1": {"groups": 1}})


def test_a_network_that_was_not_cut_may_say_that_it_was(tmp_path):
    net = architecture("resnet_small", SMALL)
    save(tmp_path / "w.safetensors", net, card_of(net, "resnet_small", SMALL))
    assert read_card(tmp_path / "w.safetensors").attributes == {}
    assert torch.equal(load(tmp_path / "w.safetensors")[0].fc.weight, net.fc.weight)


def test_a_pruned_file_is_a_model_name_and_can_be_trained_further(pruned):
    path, net, card = pruned
    again = zoo.build(ModelSpec(name=str(path)), num_classes=3, input_CHW=SMALL)
    assert again.training
    assert measure(again, SMALL) == card.cost
    optimizer = torch.optim.SGD(again.parameters(), lr=0.1, momentum=0.9)
    image_BCHW, label_B = torch.randn(8, *SMALL), torch.arange(8) % 3
    first = nn.functional.cross_entropy(again(image_BCHW), label_B)
    for _ in range(5):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(again(image_BCHW), label_B)
        loss.backward()
        optimizer.step()
    assert loss < first
    read = read_card(path)
    save(path, again, replace(read, cost=measure(again, SMALL)))
    assert torch.equal(load(path)[0](image_BCHW), again.eval()(image_BCHW))
    assert not torch.equal(again(image_BCHW), net.eval()(image_BCHW))


def test_tied_weights_stay_tied():
    net = nn.Sequential(nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False))
    net[1].weight = net[0].weight
    rebuild.reshape(net, {"0.weight": (4, 4), "1.weight": (4, 4)})
    assert net[0].weight is net[1].weight
    assert net(torch.ones(1, 4)).shape == (1, 4)


def test_every_kind_of_layer_follows_its_tensors():
    net = nn.ModuleDict(
        {
            "grouped": nn.Conv2d(8, 16, 3, groups=4),
            "depthwise": nn.Conv2d(8, 16, 3, groups=8),
            "batch": nn.BatchNorm1d(8),
            "group": nn.GroupNorm(2, 8),
            "layer": nn.LayerNorm(8),
            "rms": nn.RMSNorm(8),
            "plain": nn.LayerNorm(8, elementwise_affine=False),
        }
    )
    shapes = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    shapes = {name: tuple(n // 2 if n in (8, 16) else n for n in shape) for name, shape in shapes.items()}
    shapes["grouped.weight"] = (8, 1, 3, 3)
    rebuild.reshape(net, shapes)
    assert {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()} == shapes
    assert (net["grouped"].in_channels, net["grouped"].out_channels, net["grouped"].groups) == (4, 8, 4)
    assert (net["depthwise"].in_channels, net["depthwise"].out_channels, net["depthwise"].groups) == (4, 8, 4)
    assert net["plain"].normalized_shape == (8,)
    for name, shape in {"grouped": (1, 4, 5, 5), "depthwise": (1, 4, 5, 5), "batch": (2, 4), "layer": (2, 4)}.items():
        net[name](torch.zeros(shape))
    assert net["group"](torch.zeros(1, 4, 2)).shape == net["rms"](torch.zeros(1, 2, 4)).mT.shape == (1, 4, 2)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"conv1.weight": (17, 1, 3, 3)}, r"conv1\.weight is \[17, 1, 3, 3\], which no cut of \[16, 1, 3, 3\]"),
        ({"conv1.weight": (9, 1, 3)}, r"conv1\.weight is \[9, 1, 3\], which no cut"),
        ({"conv1.weight": (0, 1, 3, 3)}, r"conv1\.weight is \[0, 1, 3, 3\], which no cut"),
        ({"conv1.weight": (9, 1, 1, 1)}, r"layer 'conv1' has a kernel of \[1, 1\], not \[3, 3\]"),
        ({"conv1.weight": (8, 1, 3, 3)}, r"fit together at or after bn1: running_mean should contain 8 elements not 9"),
        ({"bn1.bias": (1,)}, r"tensors of layer 'bn1' have \[1, 9\] channels"),
        ({"layer1.0.conv2.weight": (9, 3, 3, 3)}, r"at or after layer1\.0\.conv2"),
        ({"fc.weight": (2, 38), "fc.bias": (2,)}, r"its last layer, fc, gives \[1, 2\] for one image and 3 classes"),
        ({"fc.bias": (2,)}, r"tensors of layer 'fc' have \[2, 3\] channels"),
        ({"fc.extra": (2,)}, r"has the unknown fc\.extra"),
        ({"bn1.num_batches_tracked": (1,)}, r"num_batches_tracked is \[1\], which no cut of \[\]"),
    ],
)
def test_shapes_that_no_cut_leaves_are_refused(pruned, tensors, message):
    path = pruned[0]
    rewrite(path, tensors={name: torch.ones(shape) for name, shape in tensors.items()})
    with pytest.raises(InputError, match=f"does not fit the network it names, .*{message}"):
        load(path)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"no.layer": {"groups": 1}}, r"layer 'no\.layer' has no number 'groups'"),
        ({"conv1": {"__class__": 1}}, "has no number '__class__'"),
        ({"conv1": {"weight": 1}}, "has no number 'weight'"),
        ({"conv1": {"out_channels": 10**9}}, "out_channels of layer 'conv1' is 1000000000; the uncut network has 9"),
        ({"conv1": {"groups": 0}}, "groups of layer 'conv1' is 0"),
        ({"conv1": {"groups": True}}, "groups of layer 'conv1' is True"),
        ({"conv1": {"groups": "1"}}, "groups of layer 'conv1' is '1'"),
        ({"conv1": {"groups": 1.0}}, "groups of layer 'conv1' is 1.0"),
        ({"bn1": {"eps": math.inf}}, "eps of layer 'bn1' is inf"),
        (7, "its card is unreadable"),
        ({"conv1": 7}, "its card is unreadable"),
    ],
)
def test_attributes_that_no_cut_leaves_are_refused(pruned, attributes, message):
    rewrite(pruned[0], attributes=attributes)
    with pytest.raises(InputError, match=message):
        load(pruned[0])


# ---- new weights in the shapes of a cut network

THIRDS = {  # widths of a third of the parameters; 3 channels, 3 and 5 pixels and 10 classes stay
    "nin": {192: 111, 160: 92, 96: 55},
    "dense layers": {16: 9, 48: 28, 96: 55, 64: 37, 64 * 16: 37 * 16, 512: 296},
}


def dense_layers():
    """An AlexNet of a small width."""
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 48, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(48, 96, 3, padding=1), nn.ReLU(), nn.Conv2d(96, 64, 3, padding=1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(64 * 16, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)),
    )


def variances(name, seed):
    """Of the logits over images: whole, cut, and cut without any change of scale."""
    size = (3, 16, 16)
    torch.manual_seed(seed)
    own = name in architectures.OWN
    net = zoo.build(ModelSpec(name=name), num_classes=10, input_CHW=size).eval() if own else dense_layers()
    thirds = THIRDS[name]
    shapes = {n: tuple(thirds.get(count, count) for count in tensor.shape) for n, tensor in net.state_dict().items()}
    count = sum(p.numel() for p in net.parameters())
    assert 0.32 < sum(math.prod(shape) for shape in shapes.values()) / count < 0.35
    plain = {n: tensor[tuple(map(slice, shapes[n]))].clone() for n, tensor in net.state_dict().items()}
    image_BCHW = torch.randn(32, *size)
    with torch.no_grad():
        found = [float(net(image_BCHW).var(0).mean())]
        rebuild.reshape(net, shapes)
        found.append(float(net(image_BCHW).var(0).mean()))
        net.load_state_dict(plain)
        return [*found, float(net(image_BCHW).var(0).mean())]


@pytest.mark.parametrize(("name", "seeds"), [("nin", 6), ("dense layers", 6)])
def test_without_batchnorm_logits_keep_their_variance(name, seeds):
    """The geometric mean over seeds; the control, without the scale, loses it layer by layer."""
    logs = torch.tensor([variances(name, seed) for seed in range(seeds)]).log().mean(0)
    kept, plain = (logs[1:] - logs[0]).exp().tolist()
    assert 0.5 < kept < 2
    assert plain < 0.05


def test_transposed_convolutions_and_lost_groups_follow():
    net = nn.ModuleDict(
        {
            "transposed": nn.ConvTranspose2d(8, 6, 2),
            "spread": nn.ConvTranspose2d(8, 8, 2, groups=8),
            "grouped": nn.Conv2d(12, 24, 1, groups=4),
        }
    )
    shapes = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    shapes |= {"transposed.weight": (5, 4, 2, 2), "transposed.bias": (4,), "spread.weight": (3, 1, 2, 2)}
    shapes |= {"spread.bias": (3,), "grouped.weight": (18, 3, 1, 1), "grouped.bias": (18,)}
    rebuild.reshape(net, shapes)
    image_BCHW = torch.zeros(1, 9, 4, 4)
    assert net["transposed"](image_BCHW[:, :5]).shape[1] == net["transposed"].out_channels == 4
    assert net["spread"](image_BCHW[:, :3]).shape[1] == net["spread"].groups == 3
    assert net["grouped"](image_BCHW).shape[1] == 18
    assert (net["grouped"].groups, net["grouped"].in_channels) == (3, 9)


def test_only_sums_over_fewer_inputs_are_scaled():
    torch.manual_seed(0)
    net = nn.ModuleDict(
        {
            "conv": nn.Conv2d(8, 4, 3),
            "narrow": nn.Conv2d(8, 4, 3),
            "depthwise": nn.Conv2d(8, 8, 3, groups=8),
            "linear": nn.Linear(9, 4),
            "batch": nn.BatchNorm1d(8),
            "layer": nn.LayerNorm(8),
        }
    )
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.uniform_(-1, 1)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    wanted = {
        "conv.weight": ((4, 2, 3, 3), 2.0),
        "narrow.weight": ((2, 8, 3, 3), 1.0),
        "narrow.bias": ((2,), 1.0),
        "depthwise.weight": ((4, 1, 3, 3), 1.0),
        "depthwise.bias": ((4,), 1.0),
        "linear.weight": ((4, 4), 1.5),
        **{f"batch.{name}": ((2,), 1.0) for name in ("weight", "bias", "running_mean", "running_var")},
        **{f"layer.{name}": ((2,), 1.0) for name in ("weight", "bias")},
    }
    rebuild.reshape(net, {name: shape for name, (shape, _) in wanted.items()})
    for name, tensor in net.state_dict().items():
        shape, scale = wanted.get(name, (tuple(before[name].shape), 1.0))
        first = before[name][tuple(map(slice, shape))]
        torch.testing.assert_close(tensor, first * scale, check_dtype=False)  # counters are whole numbers


def test_tied_weights_are_scaled_once():
    net = nn.Sequential(nn.Linear(16, 16, bias=False), nn.Linear(16, 16, bias=False))
    net[1].weight = net[0].weight
    first = net[0].weight.detach()[:4, :4] * 2
    rebuild.reshape(net, {"0.weight": (4, 4), "1.weight": (4, 4)})
    torch.testing.assert_close(net[1].weight.detach(), first)
