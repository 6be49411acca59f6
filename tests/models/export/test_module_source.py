"""Networks written out: equal bit for bit, with the same names, and nothing imported but torch."""

import ast
import copy

import pytest
import torch
import torchinfo
from torch import nn

from configs.errors import InputError
from models.export import module_source
from models.networks.architectures import build
from models.spec import ModelSpec

HEAD = "from collections import OrderedDict\nimport torch\nimport torch.nn.functional as F\nfrom torch import nn\n"
ZOO = [
    *("depthwise", "depthwise_v2", "nin", "alexnet_small", "resnet_small"),
    *("torchvision/resnet18", "torchvision/mobilenet_v3_small", "torchvision/shufflenet_v2_x0_5"),
    *("timm/convnext_atto", "timm/mobilenetv3_small_050", "timm/vit_tiny_patch16_224"),
]
SIZES = {"depthwise": 64}


def network(name):
    torch.manual_seed(0)
    size = (3, SIZES.get(name, 32), SIZES.get(name, 32))
    net = build(ModelSpec(name=name), num_classes=5, input_CHW=size)
    with torch.no_grad():
        for tensor in net.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.05 * torch.rand_like(tensor))  # no BatchNorm is the identity
    return net.eval(), torch.randn(2, *size)


def written(net, image):
    text = HEAD + module_source.write(net, image)
    space = {}
    exec(compile(text, "written", "exec"), space)
    again = space["get_student_model"]()
    again.load_state_dict({**dict(net.named_buffers()), **net.state_dict()})
    return text, again.eval()


def torchsummary_count(net):
    """What torchsummary adds up: weight and bias of each module that is no container."""
    layers = [m for m in net.modules() if not isinstance(m, nn.Sequential | nn.ModuleList) and m is not net]
    tensors = [getattr(m, name, None) for m in layers for name in ("weight", "bias")]
    return sum(tensor.numel() for tensor in tensors if isinstance(tensor, torch.Tensor))


@pytest.mark.parametrize("name", ZOO)
@torch.no_grad()
def test_every_network_of_the_zoo(name):
    net, image = network(name)
    text, again = written(net, image)
    assert torch.equal(again(image), net(image)) and torch.equal(again(image[:1]), net(image[:1]))
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert len(imports) == 4  # those of the head alone
    named, found = ([(n, p.shape, p.requires_grad) for n, p in one.named_parameters()] for one in (net, again))
    assert found == named
    assert torchsummary_count(again) == torchsummary_count(net)
    assert torchinfo.summary(again, verbose=0).total_params == torchinfo.summary(net, verbose=0).total_params
    outputs = []
    for one in (net, again):
        torch.manual_seed(1)
        outputs.append(one.train()(image))
    assert torch.equal(*outputs)
    for (own, wanted), (_, buffer) in zip(net.named_buffers(), again.named_buffers(), strict=True):
        assert torch.equal(wanted, buffer), own


def test_stochastic_depth_drops_whole_samples_in_training_alone():
    space = {}
    exec(HEAD + module_source.STOCHASTIC_DEPTH, space)
    layer, image = space["StochasticDepth"](0.25), torch.ones(4000, 2, 1)
    assert layer.eval()(image) is image
    dropped = layer.train()(image)
    assert set(dropped.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert torch.equal(dropped[:, 0], dropped[:, 1]) and abs(float((dropped == 0).float().mean()) - 0.25) < 0.05


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3)
        self.again = self.first
        self.tied = nn.Conv2d(3, 3, 3)
        self.tied.weight = self.first.weight
        self.head = nn.Sequential()
        self.head.add_module("pool", nn.AdaptiveAvgPool2d(1))
        self.head.add_module("flat", nn.Flatten())
        self.register_buffer("table", torch.arange(3.0), persistent=False)
        self.unused = nn.ModuleDict({"a": nn.ReLU()})

    def forward(self, x):
        return self.head(self.tied(self.again(self.first(x)))) * self.table


@torch.no_grad()
def test_shared_layers_and_tied_weights_stay_so():
    net, image = Shared().eval(), torch.randn(2, 3, 8, 8)
    text, again = written(net, image)
    assert torch.equal(again(image), net(image))
    assert again.again is again.first and again.tied.weight is again.first.weight
    assert "net.again = net.first\n" in text and "net.tied.weight = net.first.weight\n" in text


def test_one_class_serves_all_layers_that_do_the_same():
    net, image = network("resnet_small")
    text, _ = written(net, image)
    assert text.count("\nclass ") == 3  # Layer, the block, the network


class Looks(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_a_layer_that_cannot_be_written_is_named_and_the_network_stays_as_it_was():
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Sequential(Looks()))
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(InputError, match=r"layer 1\.0 \(Looks\) cannot be written as plain PyTorch: torch\.fx cannot"):
        module_source.write(net, torch.zeros(2, 3, 4, 4))
    assert list(net.state_dict()) == list(before)
    assert not any(module._forward_pre_hooks for module in net.modules())
