"""Settings of a network. Does not import torch, so that --help and config errors are fast."""

from __future__ import annotations

from dataclasses import dataclass

from configs.errors import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """A network by name and its settings. A setting that the network does not have is refused."""

    name: str
    """depthwise, depthwise_v2, nin, alexnet_small, resnet_small, a torchvision or timm name (torchvision/resnet18,
    timm/convnext_atto), or a saved .safetensors file."""
    widths: tuple[int, ...] | None = None
    """Channels per stage or block; null: the network's own."""
    depth: int | None = None
    """Number of layers of resnet_small (6n + 2: 8, 14, 20, 32, 44, 56); null: 20."""
    dropout: float | None = None
    """Dropout probability; null: the network's own."""
    pretrained: bool = False
    """Start from the library's ImageNet weights (torchvision and timm names only; needs the network)."""
    from_scratch: bool = False
    """Take only the architecture of a saved file, such as a pruned one, and draw new weights."""

    def __post_init__(self) -> None:
        if not self.name:
            raise UsageError("the model's name is empty; give the name of a network or a .safetensors file")
        if self.widths is not None and (not self.widths or min(self.widths) < 1):
            raise UsageError(f"model widths are {self.widths}; they must be positive")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise UsageError(f"model dropout is {self.dropout}; it must be in [0, 1)")
        if self.from_scratch and not self.name.endswith(".safetensors"):
            raise UsageError(f"from_scratch is for saved .safetensors files; {self.name} has new weights anyway")
