"""Settings of a network. Does not import torch, so that --help and config errors are fast."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_type_hints

from configs.errors import UsageError
from configs.values import coerce
from models.own.code import is_code

Stem = Literal["auto", "keep", "small"]
WEIGHT_FILES = (".safetensors", ".pth", ".pt", ".ckpt", ".th", ".bin", ".tar")
"""Endings of files of weights: our own .safetensors files, and state dicts from elsewhere."""
HUB = ("hf-hub:", "hf_hub:", "local-dir:")
"""What names on the Hugging Face hub begin with, as in timm, and those of folders that were copied from there."""


def names_file(name: str) -> bool:
    """Whether a network's name is that of a file of weights."""
    return name.lower().endswith(WEIGHT_FILES)


def names_pretrained(name: str) -> bool:
    """Whether a teacher's name is that of published weights: torchvision/NAME, timm/NAME or hf-hub:NAME."""
    return not names_file(name) and name.startswith(("torchvision/", "timm/", *HUB))


WIDEST, DEEPEST = 65_536, 10_000
ENSEMBLE = "ensemble"
"""Name of a network that models.ensemble makes; its kwargs are the specs of its members."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """A network by name and its settings. A setting that the network does not have is refused."""

    name: str
    """depthwise, depthwise_v2, nin, alexnet_small, resnet_small, resnet_cifar, a torchvision or timm name
    (torchvision/resnet18, timm/convnext_atto), a saved .safetensors file, a state dict from elsewhere (.pth, .ckpt,
    ...; see models.adopt), or a network of your own: PATH/my_net.py:StudentNet, or package.module:factory, a class or
    function that is called with num_classes, in_channels (or in_chans) and input_CHW, those of them that its signature
    names."""
    widths: tuple[int, ...] | None = None
    """Channels per stage or block; null: the network's own."""
    depth: int | None = None
    """Number of layers of resnet_small and resnet_cifar (6n + 2: 8, 14, 20, 32, 44, 56, 110); null: 20."""
    dropout: float | None = None
    """Dropout probability; null: the network's own."""
    stem: Stem = "auto"
    """First layers of a torchvision or timm network. keep: its own. small: they keep the resolution of small images
    (3x3 with stride 1 and no max-pool in a ResNet). auto: small for images up to 64 pixels high."""
    pretrained: bool = False
    """Start from the library's ImageNet weights (torchvision and timm names only; needs the network)."""
    kwargs: dict[str, Any] = field(default_factory=dict)
    """Further arguments of a network of your own, such as {width: 16}."""
    from_scratch: bool = False
    """Take only the architecture of a saved file, such as a pruned one, and draw new weights."""

    def __post_init__(self) -> None:
        if not self.name:
            raise UsageError("name is empty; give the name of a network or a .safetensors file")
        if self.widths is not None and not (self.widths and 1 <= min(self.widths) <= max(self.widths) <= WIDEST):
            raise UsageError(f"widths are {self.widths}; each must be from 1 to {WIDEST:,}")
        if self.depth is not None and not 1 <= self.depth <= DEEPEST:
            raise UsageError(f"depth is {self.depth}; it must be from 1 to {DEEPEST:,}")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise UsageError(f"dropout is {self.dropout}; it must be in [0, 1)")
        if self.name.endswith(".py"):
            raise UsageError(f"{self.name} is a file; name the class or function in it too: {self.name}:StudentNet")
        self._require_kwargs()
        if self.from_scratch and not self.name.endswith(".safetensors"):
            raise UsageError(f"from_scratch is for saved .safetensors files; {self.name} has new weights anyway")

    def _require_kwargs(self) -> None:
        if self.kwargs and not is_code(self.name) and self.name != ENSEMBLE:
            raise UsageError(f"kwargs is for networks of your own, such as my_net.py:StudentNet, not for {self.name}")
        try:
            json.dumps(self.kwargs, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise UsageError(f"kwargs are {self.kwargs}; they must be plain, finite values ({error})") from error
        if wrong := [name for name in self.kwargs if not name.isidentifier()]:
            raise UsageError(f"kwargs has {wrong[0]!r}; it must be the name of a parameter")


HINTS = get_type_hints(ModelSpec)


def from_plain(values: Mapping[str, Any]) -> ModelSpec:
    """The spec that a file holds as JSON. KeyError, TypeError, ValueError or AttributeError: it holds none."""
    return ModelSpec(**{name: coerce(HINTS[name], value) for name, value in values.items()})
