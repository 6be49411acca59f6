"""Weights as courses hand them out, made with plain torch and torchvision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F


class PlainBlock(nn.Module):
    """Of a CIFAR ResNet with option-A shortcuts."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, kernel_size=3, stride=1, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.grows = stride != 1 or before != after

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.grows:
            quarter = out.shape[1] // 4
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, quarter, quarter), "constant", 0)
        return F.relu(out + x)


class PlainCifarResNet(nn.Module):
    """The layout of the public CIFAR ResNets: conv1, bn1, layer1 to layer3, linear."""

    def __init__(self, blocks: int, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, kernel_size=3, stride=1, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(PlainBlock(16, 16, 1) for _ in range(blocks)))
        self.layer2 = nn.Sequential(*(PlainBlock(32 if i else 16, 32, 1 if i else 2) for i in range(blocks)))
        self.layer3 = nn.Sequential(*(PlainBlock(64 if i else 32, 64, 1 if i else 2) for i in range(blocks)))
        self.linear = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        out = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        out = F.avg_pool2d(out, out.size()[3])
        return self.linear(out.view(out.size(0), -1))


def trained_looking(net: nn.Module, seed: int = 0) -> nn.Module:
    """Give BatchNorm statistics and weights of their own, so that no two layers are alike."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.normal_(0, 0.1, generator=generator)
                layer.running_var.uniform_(0.5, 1.5, generator=generator)
                layer.weight.uniform_(0.5, 1.5, generator=generator)
                layer.bias.normal_(0, 0.1, generator=generator)
    return net.eval()


def prefixed(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def plain(course: str) -> nn.Module:
    """The network of a course."""
    torch.manual_seed(0)
    if course == "food":
        return trained_looking(torchvision.models.resnet18(num_classes=11))
    if course == "fashion":
        return trained_looking(torchvision.models.resnet50(num_classes=10))
    return trained_looking(PlainCifarResNet(3))


def content(course: str, state: Mapping[str, Tensor]) -> Any:
    """What the course's file holds."""
    if course == "food":
        return dict(state)
    if course == "fashion":
        return {"epoch": 7, "model_state_dict": prefixed("resnet50.", state)}
    return {"state_dict": prefixed("module.", state), "best_prec1": 91.7}


NAMES = {"food": "resnet18_teacher.ckpt", "fashion": "resnet50.pth", "cifar": "resnet20-12fca82f.th"}
SIZES = {"food": (3, 96, 96), "fashion": (3, 28, 28), "cifar": (3, 32, 32)}
SPECS = {"food": "torchvision/resnet18", "fashion": "torchvision/resnet50", "cifar": "resnet_cifar"}


def wrapped(wrapper: str, course: str, state: Mapping[str, Tensor]) -> Any:
    """The course's own file, or the same weights as a trainer would have kept them."""
    if wrapper == "as handed out":
        return content(course, state)
    if wrapper == "Lightning":
        extra = {"criterion.weight": torch.ones(11), "train_accuracy.tp": torch.zeros(11)}
        hyper = {"lr": 0.1, "name": "x"}
        callbacks = {"ModelCheckpoint": {"best_model_score": torch.tensor(0.9)}}
        return {
            "epoch": 3,
            "pytorch-lightning_version": "2.5.0",
            "state_dict": prefixed("model.", state) | extra,
            "hyper_parameters": hyper,
            "callbacks": callbacks,
            "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3, 3)}}, "param_groups": []}],
        }
    if wrapper == "DataParallel":
        return prefixed("module.", state)
    return {"net": prefixed("module._orig_mod.model.", state)}


def save(folder: Path, course: str, wrapper: str = "as handed out") -> tuple[Path, nn.Module]:
    """Write the file of a course; return it with the network in it."""
    net, path = plain(course), folder / NAMES[course]
    torch.save(wrapped(wrapper, course, net.state_dict()), path, _use_new_zipfile_serialization=course != "cifar")
    return path, net
