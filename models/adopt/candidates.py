"""Architectures that weights from elsewhere may belong to, in a fixed order, by a name that their state dicts have."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from torch import Tensor

from configs.errors import InputError
from models.networks import architectures
from models.networks.resnet import WIDTHS
from models.own.code import is_code
from models.spec import ModelSpec, Stem

STEMS: tuple[Stem, ...] = ("keep", "small")
HEADS = ("fc", "linear", "head.fc", "head.l", "head", "heads.head", "classifier")
"""Last layers by their usual names; within `classifier.6` and the like the highest number."""
BY_NAME: tuple[tuple[str, str, str], ...] = (
    ("linear.weight", "own", "resnet_cifar"),
    (
        "layer1.0.conv1.weight",
        "torchvision",
        "resnet18 resnet50 resnet34 resnet101 resnet152 wide_resnet50_2 resnext50_32x4d resnext101_32x8d "
        "resnext101_64x4d wide_resnet101_2",
    ),
    ("layer1.0.conv1.weight", "own", "resnet_small"),
    (
        "layer1.0.conv1.weight",
        "timm",
        "resnet10t resnet14t resnet18d resnet26 resnet26d resnet26t resnet34d resnet50d resnet50c resnet50t resnet101d "
        "resnet152d resnet50_gn seresnet18 seresnet34 seresnet50 seresnet101 resnetblur50 ecaresnet50t ecaresnet26t "
        "resnetaa50 skresnet18 skresnet34 resnext50d_32x4d resnext101_32x4d resnext101_32x16d seresnext50_32x4d "
        "seresnext101_32x4d res2net50_26w_4s resnest14d resnest26d resnest50d",
    ),
    ("classifier.6.weight", "torchvision", "vgg16 vgg11 vgg13 vgg19 vgg16_bn vgg11_bn vgg13_bn vgg19_bn alexnet"),
    ("features.denseblock1.denselayer1.norm1.weight", "torchvision", "densenet121 densenet169 densenet201 densenet161"),
    ("features.3.squeeze.weight", "torchvision", "squeezenet1_1 squeezenet1_0"),
    (
        "features.0.0.weight",
        "torchvision",
        "mobilenet_v2 mobilenet_v3_small mobilenet_v3_large efficientnet_b0 efficientnet_b1 efficientnet_b2 "
        "efficientnet_b3 efficientnet_b4 efficientnet_v2_s efficientnet_v2_m efficientnet_b5 efficientnet_b6 "
        "efficientnet_b7 efficientnet_v2_l convnext_tiny convnext_small convnext_base convnext_large swin_t swin_s "
        "swin_b swin_v2_t swin_v2_s swin_v2_b",
    ),
    (
        "stage2.0.branch1.0.weight",
        "torchvision",
        "shufflenet_v2_x1_0 shufflenet_v2_x0_5 shufflenet_v2_x1_5 shufflenet_v2_x2_0",
    ),
    ("inception3a.branch1.conv.weight", "torchvision", "googlenet"),
    ("Conv2d_1a_3x3.conv.weight", "torchvision", "inception_v3"),
    ("layers.8.0.layers.0.weight", "torchvision", "mnasnet1_0 mnasnet0_5 mnasnet0_75 mnasnet1_3"),
    ("class_token", "torchvision", "vit_b_16 vit_b_32 vit_l_16 vit_l_32 vit_h_14"),
    (
        "trunk_output.block1.block1-0.proj.0.weight",
        "torchvision",
        "regnet_y_400mf regnet_y_800mf regnet_x_400mf regnet_x_800mf regnet_y_1_6gf regnet_x_1_6gf regnet_y_3_2gf "
        "regnet_x_3_2gf regnet_y_8gf regnet_x_8gf",
    ),
    ("blocks.0.layers.0.layers.conv_a.0.weight", "torchvision", "maxvit_t"),
    (
        "conv_stem.weight",
        "timm",
        "efficientnet_b0 tf_efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 "
        "mobilenetv3_small_050 mobilenetv3_small_075 mobilenetv3_small_100 mobilenetv3_large_075 mobilenetv3_large_100 "
        "mobilenetv2_050 mobilenetv2_100 mobilenetv2_110d mobilenetv2_120d mobilenetv2_140 tf_efficientnetv2_b0 "
        "tf_efficientnetv2_b1 tf_efficientnetv2_b2 tf_efficientnetv2_b3 tf_efficientnetv2_s tf_efficientnetv2_m "
        "efficientnetv2_rw_t efficientnetv2_rw_s efficientnet_lite0 mnasnet_100 mnasnet_small semnasnet_100 fbnetc_100 "
        "spnasnet_100 ghostnet_100 ghostnetv2_100 mixnet_s mixnet_m mobilenetv4_conv_small mobilenetv4_conv_medium "
        "mobilenetv4_conv_large tinynet_a tinynet_e lcnet_050 lcnet_100 tf_efficientnet_b5 tf_efficientnet_b6 "
        "tf_efficientnet_b7",
    ),
    (
        "stages.0.blocks.0.conv_dw.weight",
        "timm",
        "convnext_atto convnext_femto convnext_pico convnext_nano convnext_tiny convnext_small convnext_base "
        "convnext_large convnextv2_atto convnextv2_femto convnextv2_pico convnextv2_nano convnextv2_tiny "
        "convnextv2_base",
    ),
    (
        "cls_token",
        "timm",
        "vit_tiny_patch16_224 vit_small_patch16_224 vit_base_patch16_224 vit_small_patch32_224 vit_base_patch32_224 "
        "vit_large_patch16_224 deit3_small_patch16_224 deit3_base_patch16_224 deit_tiny_distilled_patch16_224 "
        "deit_small_distilled_patch16_224 beit_base_patch16_224 beitv2_base_patch16_224 eva02_tiny_patch14_224 "
        "eva02_small_patch14_224 vit_tiny_patch16_384 vit_small_patch16_384 vit_base_patch16_384 cait_xxs24_224",
    ),
    (
        "patch_embed.norm.weight",
        "timm",
        "swin_tiny_patch4_window7_224 swin_small_patch4_window7_224 swin_base_patch4_window7_224 "
        "swinv2_tiny_window8_256 swinv2_small_window8_256",
    ),
    (
        "stem.conv.weight",
        "timm",
        "regnetx_002 regnety_002 regnetx_004 regnety_004 regnetx_006 regnety_006 regnetx_008 regnety_008 regnetx_016 "
        "regnety_016 regnetx_032 regnety_032 resnetv2_50 cspresnet50 cspdarknet53",
    ),
    ("base_layer.0.weight", "timm", "dla34 dla46_c dla60 dla102"),
    ("features.0.weight", "timm", "vgg16 vgg11 vgg16_bn vgg19 vgg19_bn vgg11_bn vgg13 vgg13_bn"),
    ("stem.conv_kxk.conv.weight", "timm", "repvgg_a0 repvgg_a1 repvgg_a2 repvgg_b0"),
    ("stem.conv_kxk.0.conv.weight", "timm", "mobileone_s0 mobileone_s1 mobileone_s2"),
    ("layer3.2.weight", "own", "nin"),
    ("classifier.6.weight", "own", "alexnet_small"),
    ("features.1.1.weight", "own", "depthwise"),
    ("layer1.0.3.weight", "own", "depthwise_v2"),
)
"""(a name in the state dict, family, networks). torchvision comes before timm, so that a ResNet whose names and shapes
are those of both is torchvision's; both compute the same."""


def named(tensors: Mapping[str, Tensor]) -> Iterator[str]:
    """Yield the networks whose state dicts have a name that this one has, without building any of them."""
    for key, family, names in BY_NAME:
        if key in tensors:
            yield from (name if family == "own" else f"{family}/{name}" for name in names.split())


def spec_of(name: str, stem: Stem) -> ModelSpec:
    """Return the spec of a recognised name; our own networks have one stem."""
    return ModelSpec(name=name) if name in architectures.OWN else ModelSpec(name=name, stem=stem)


def variants(spec: ModelSpec, tensors: Mapping[str, Tensor]) -> Iterator[ModelSpec]:
    """Yield what the network may be built with for these tensors: stems, the own one first; or depth and widths."""
    if spec.name in ("resnet_small", "resnet_cifar"):
        yield _resnet(spec, tensors)
    elif spec.name in architectures.OWN or is_code(spec.name) or spec.stem != "auto":
        yield spec
    else:
        yield from (replace(spec, stem=stem) for stem in STEMS)


def head(tensors: Mapping[str, Tensor]) -> str:
    """Return the name of the last layer's weight, by its usual name or else the last matrix; empty: there is none."""
    matrices = [name for name, tensor in tensors.items() if name.endswith("weight") and tensor.dim() > 1]
    for usual in HEADS:
        pattern = re.compile(rf"{re.escape(usual)}(?:\.(\d+))?\.weight")
        found = {int(match[1] or 0): name for name in matrices if (match := pattern.fullmatch(name))}
        if found:
            return found[max(found)]
    return matrices[-1] if matrices else ""


def num_classes(tensors: Mapping[str, Tensor]) -> int:
    """Return the outputs of the last layer. InputError: there is none."""
    name = head(tensors)
    if not name:
        raise InputError("there is no layer with a weight among these tensors, so no number of classes")
    return int(tensors[name].shape[0])


def channels(tensors: Mapping[str, Tensor], network: Mapping[str, Tensor], built_for: int) -> int:
    """Return the input channels of the network's first convolution as the file has it.

    built_for: the channels that the network was built for, returned where the file has no such weight.
    """
    first = next((name for name, tensor in network.items() if tensor.dim() == 4), "")
    if first not in tensors or tensors[first].dim() != 4:
        return built_for
    depthwise = network[first].shape[0] == built_for
    return int(tensors[first].shape[0 if depthwise else 1])


def _resnet(spec: ModelSpec, tensors: Mapping[str, Tensor]) -> ModelSpec:
    """Read depth and widths of our ResNets from the tensors, unless they were given."""
    firsts = [tensors.get(f"layer{stage}.0.conv1.weight") for stage in (1, 2, 3)]
    blocks = sum(re.fullmatch(r"layer1\.\d+\.conv1\.weight", name) is not None for name in tensors)
    widths = tuple(int(first.shape[0]) for first in firsts if first is not None)
    if len(widths) != len(firsts):
        return spec
    own = widths if widths != WIDTHS else None
    return replace(spec, depth=spec.depth or 6 * blocks + 2, widths=spec.widths or own)
