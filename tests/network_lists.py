"""The networks of torchvision and timm that are cut by `make models`, and the table of what became of them."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import date

Result = Mapping[str, object]

TORCHVISION = [
    "alexnet",
    "vgg11",
    "vgg16",
    "vgg11_bn",
    "vgg19_bn",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnext50_32x4d",
    "wide_resnet50_2",
    "densenet121",
    "densenet169",
    "densenet161",
    "googlenet",
    "inception_v3",
    "mnasnet0_5",
    "mnasnet1_0",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "regnet_x_400mf",
    "regnet_y_400mf",
    "regnet_y_800mf",
    "efficientnet_b0",
    "efficientnet_v2_s",
    "squeezenet1_1",
    "convnext_tiny",
    "vit_b_16",
    "shufflenet_v2_x0_5",
    "shufflenet_v2_x1_0",
    "swin_t",
    "maxvit_t",
]
"""One or more of each family of torchvision."""
TIMM = [
    "resnet18",
    "resnet26d",
    "resnetv2_50",
    "resnext50_32x4d",
    "seresnext26d_32x4d",
    "skresnet18",
    "ecaresnet26t",
    "resnest14d",
    "res2net50_26w_4s",
    "dpn48b",
    "dla34",
    "densenet121",
    "ese_vovnet19b_dw",
    "hrnet_w18_small",
    "inception_next_atto",
    "xception41",
    "nf_regnet_b0",
    "eca_nfnet_l0",
    "regnetx_002",
    "regnety_002",
    "efficientnet_b0",
    "efficientnetv2_rw_t",
    "mixnet_s",
    "mobilenetv2_050",
    "mobilenetv3_small_050",
    "mobilenetv4_conv_small",
    "mnasnet_small",
    "ghostnet_050",
    "rexnet_100",
    "tinynet_e",
    "repvgg_a0",
    "mobileone_s0",
    "fastvit_t8",
    "convnext_atto",
    "convnextv2_atto",
    "cspresnet50",
    "selecsls42",
    "gernet_s",
    "vit_tiny_patch16_224",
    "xcit_nano_12_p16_224",
    "swin_tiny_patch4_window7_224",
    "twins_svt_small",
    "hiera_tiny_224",
    "levit_128s",
    "tiny_vit_5m_224",
    "efficientformer_l1",
    "efficientformerv2_s0",
    "efficientvit_b0",
    "mobilevit_xxs",
    "mobilevitv2_050",
    "edgenext_xx_small",
    "maxvit_pico_rw_256",
    "coatnet_nano_rw_224",
    "pvt_v2_b0",
    "poolformer_s12",
    "resmlp_12_224",
    "gcvit_xxtiny",
    "mambaout_femto",
    "repvit_m0_9",
]
"""Families of timm, with a small member of each."""
NAMES = [*(f"torchvision/{name}" for name in TORCHVISION), *(f"timm/{name}" for name in TIMM)]

INTRODUCTION = """# Networks that are cut

`make models` builds each of these networks for the smallest image that it takes, cuts it to half of its parameters in
three cuts on its own weights, saves it, loads it, compares the outputs bit for bit, and trains the loaded network for
one step: whole, if all of that worked. CPU seconds are those of one core for all of it, without imports; a network
that takes more than 60 is slow. Where a network is refused, the message names the layers that cannot be cut.
"""


def table(results: Sequence[Result]) -> str:
    """Return the table as Markdown."""
    import timm
    import torch
    import torchvision

    versions = f"torch {torch.__version__}, torchvision {torchvision.__version__}, timm {timm.__version__}"
    lines = [INTRODUCTION, f"{date.today()}, Python {platform.python_version()}, {versions}:", ""]
    for family in ("torchvision", "timm"):
        mine = [result for result in results if str(result["name"]).startswith(f"{family}/")]
        whole = sum(result["outcome"] == "whole" for result in mine)
        slowest = max((float(str(result["cpu_s"] or 0)) for result in mine), default=0)
        lines.append(f"- {family}: {whole} of {len(mine)} whole, at most {slowest:.0f} CPU seconds")
    lines += ["", "| network | image | parameters | after | CPU s | outcome |", "| --- | --: | --: | --: | --: | --- |"]
    return "\n".join([*lines, *map(_row, results), ""])


def _row(result: Result) -> str:
    before, after = (f"{count:,}" if isinstance(count := result.get(key), int) else "" for key in ("before", "after"))
    outcome = result["outcome"] if result["outcome"] == "whole" else f"{result['outcome']}: {result['message']}"
    return f"| {result['name']} | {result.get('size', '')} | {before} | {after} | {result['cpu_s']} | {outcome} |"
