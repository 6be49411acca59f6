import urllib.error

import pytest
import timm
import torch
import torchvision
from torch import nn

from configs.errors import InputError, UsageError
from models.networks import library, published
from models.networks.library import timm_net, torchvision_net


def last_side(net, size):
    """Side of the last convolution's map; 1x1 maps do not count, they come from pooled heads and attention."""
    sides = []
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _, __, out: sides.append(out.shape[-1]))
    with torch.no_grad():
        assert net.eval()(torch.zeros(2, *size)).shape == (2, 7)
    return next(side for side in reversed(sides) if side > 1)


@pytest.mark.parametrize("size", [(1, 28, 28), (3, 32, 32)])
@pytest.mark.parametrize(
    ("builder", "name", "sides"),
    [
        (torchvision_net, "resnet18", {28: 4, 32: 4}),
        (torchvision_net, "mobilenet_v2", {28: 2, 32: 2}),
        (torchvision_net, "alexnet", {28: 4, 32: 5}),
        (timm_net, "resnet18", {28: 4, 32: 4}),
        (timm_net, "mobilenetv3_small_050", {28: 2, 32: 2}),
        (timm_net, "convnext_atto", {28: 3, 32: 2}),
        (timm_net, "vit_tiny_patch16_224", {28: 7, 32: 8}),
    ],
)
def test_small_images_are_not_reduced_to_nothing(builder, name, sides, size):
    net = builder(name, num_classes=7, input_CHW=size)
    assert net.training
    assert last_side(net, size) == sides[size[1]]


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_torchvision_is_untouched_at_224(name):
    ours = torchvision_net(name, num_classes=7, input_CHW=(3, 224, 224))
    assert str(ours) == str(torchvision.models.get_model(name, num_classes=7))


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "vit_tiny_patch16_224"])
def test_timm_is_untouched_at_224(name):
    ours = timm_net(name, num_classes=7, input_CHW=(3, 224, 224))
    assert str(ours) == str(timm.create_model(name, num_classes=7))


def test_the_comparison_above_sees_a_changed_stem():
    ours = torchvision_net("resnet18", num_classes=7, input_CHW=(3, 64, 64))
    assert str(ours) != str(torchvision.models.get_model("resnet18", num_classes=7))


@pytest.mark.parametrize(
    ("name", "size"), [("inception_v3", (3, 32, 32)), ("maxvit_t", (3, 32, 32)), ("vit_b_16", (3, 32, 32))]
)
def test_what_cannot_take_the_image_says_so_in_one_line(name, size):
    with pytest.raises(UsageError, match=f"torchvision/{name}.*32 x 32.*use") as caught:
        torchvision_net(name, num_classes=7, input_CHW=size)
    assert "\n" not in str(caught.value)


def test_a_vit_follows_the_size_of_photographs():
    net = timm_net("vit_tiny_patch16_224", num_classes=7, input_CHW=(3, 96, 96))
    assert net.eval()(torch.zeros(1, 3, 96, 96)).shape == (1, 7)
    assert net.patch_embed.patch_size == (16, 16)


def test_dropout_reaches_the_layers_or_is_refused():
    net = torchvision_net("mobilenet_v2", num_classes=7, input_CHW=(3, 224, 224), dropout=0.0)
    assert {layer.p for layer in net.modules() if isinstance(layer, nn.Dropout)} == {0.0}
    assert timm_net("resnet18", num_classes=7, input_CHW=(3, 224, 224), dropout=0.3).drop_rate == 0.3
    with pytest.raises(UsageError, match="no dropout layer"):
        torchvision_net("resnet18", num_classes=7, input_CHW=(3, 224, 224), dropout=0.3)


@pytest.mark.filterwarnings("ignore:The default weight initialization:FutureWarning")
@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "googlenet"])
def test_pretrained_asks_torchvision_for_its_weights_and_replaces_head_and_stem(monkeypatch, name):
    get_model, asked, served = torchvision.models.get_model, {}, []

    def fake(wanted, **options):
        asked.update(options)
        served.append(get_model(wanted, num_classes=1000))
        return served[0]

    monkeypatch.setattr(torchvision.models, "get_model", fake)
    monkeypatch.setattr(published, "reachable", lambda _: True)
    net = torchvision_net(name, num_classes=7, input_CHW=(1, 32, 32), pretrained=True)
    assert asked == {"weights": "DEFAULT"}
    rebuilt = torchvision_rebuilt(monkeypatch, get_model, name)
    assert {k: v.shape for k, v in net.state_dict().items()} == {k: v.shape for k, v in rebuilt.state_dict().items()}
    assert net.eval()(torch.zeros(2, 1, 32, 32)).shape == (2, 7)


def torchvision_rebuilt(monkeypatch, get_model, name):
    """What loading a saved file builds: the same architecture without pretrained weights."""
    monkeypatch.setattr(torchvision.models, "get_model", get_model)
    return torchvision_net(name, num_classes=7, input_CHW=(1, 32, 32))


def test_pretrained_is_passed_to_timm(monkeypatch):
    create, asked = timm.create_model, {}

    def fake(name, *, pretrained, **options):
        asked.update(options, pretrained=pretrained)
        return create(name, **options)

    monkeypatch.setattr(timm, "create_model", fake)
    timm_net("resnet18", num_classes=7, input_CHW=(1, 224, 224), pretrained=True)
    assert asked == {"pretrained": True, "num_classes": 7, "in_chans": 1}


@pytest.mark.parametrize(
    ("builder", "module", "call"),
    [(torchvision_net, torchvision.models, "get_model"), (timm_net, timm, "create_model")],
)
def test_an_unreachable_hub_is_one_line(monkeypatch, builder, module, call):
    def unreachable(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(module, call, unreachable)
    monkeypatch.setattr(published, "reachable", lambda _: True)
    with pytest.raises(InputError, match=r"pretrained weights of .*/resnet18 .*no route to host.*pretrained: false"):
        builder("resnet18", num_classes=7, input_CHW=(3, 224, 224), pretrained=True)


@pytest.mark.parametrize("size", [(1, 28, 28), (3, 64, 64)])
@pytest.mark.parametrize("name", ["repvgg_a0", "mobileone_s0", "fastvit_t8"])
def test_branches_of_a_reparameterised_stem_keep_the_resolution(name, size):
    net = timm_net(name, num_classes=7, input_CHW=size)
    assert net.training
    convs = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d) and layer.in_channels == size[0]]
    assert len(convs) > 1
    assert {conv.stride for conv in convs} == {(1, 1)}
    assert net.eval()(torch.zeros(2, *size)).shape == (2, 7)


@pytest.mark.parametrize("side", [32, 64, 96])
def test_what_cannot_be_tied_to_the_image_stays_as_the_library_makes_it(side):
    net = timm_net("crossvit_9_240", num_classes=7, input_CHW=(3, side, side))
    assert net.img_size == (240, 240)  # it scales its images itself
    assert net.eval()(torch.zeros(2, 3, side, side)).shape == (2, 7)


def test_a_stem_that_cannot_be_adapted_is_left_alone(monkeypatch):
    def broken(net, **_):
        net.conv1 = nn.Conv2d(5, 64, 3)

    monkeypatch.setattr(library, "for_small_images", broken)
    net = timm_net("resnet18", num_classes=7, input_CHW=(3, 32, 32))
    assert str(net) == str(timm.create_model("resnet18", num_classes=7))


@pytest.mark.parametrize(("name", "side"), [("efficientformer_l1", 96), ("inception_v3", 70)])
def test_a_large_image_that_does_not_fit_is_refused_when_the_network_is_built(name, side):
    with pytest.raises(UsageError, match=rf"timm/{name} cannot take images of 3 x {side} x {side} \(RuntimeError"):
        timm_net(name, num_classes=7, input_CHW=(3, side, side))
