"""Apply a cut to a network, and tell which entries of its tensors remain.

Parameters that change are new objects, and an optimizer made before the cut would silently step the old ones. So a cut
is followed by a new optimizer, and by new BatchNorm statistics (`recalibrate`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from configs.errors import InputError, NonFiniteError, UsageError
from models.pruning import carve
from models.pruning.groups import Integers, Place, Structure
from models.pruning.plan import Cut
from models.pruning.tracing import trace


@dataclass(frozen=True)
class Kept:
    """Entries of parameters and buffers that a cut kept."""

    shapes: Mapping[str, tuple[int, ...]]
    """Shapes before the cut, by name in the state dict."""
    places: Mapping[Place, Integers]
    """Kept indices, for the dimensions that lost some."""

    def indices(self, name: str, dim: int) -> Integers:
        """Return the kept indices along one dimension of a parameter or buffer. InputError: no such tensor."""
        self._require(name, None)
        return self.places.get((name, dim), np.arange(self.shapes[name][dim]))

    def select(self, name: str, value: Tensor) -> Tensor:
        """Return the kept entries of a tensor that is shaped as `name` was before the cut. InputError: it is not."""
        self._require(name, tuple(value.shape))
        return carve.select(name, value, self.places).clone()

    def _require(self, name: str, shape: tuple[int, ...] | None) -> None:
        if name not in self.shapes:
            raise InputError(
                f"the network that was cut has no tensor {name}; it has {', '.join(list(self.shapes)[:8])}"
            )
        if shape not in (None, self.shapes[name]):
            raise InputError(f"{name} is {list(shape or ())}, but was {list(self.shapes[name])} before the cut")


def apply(net: nn.Module, cut: Cut) -> Kept:
    """Cut a network and its gradients in place; device and mode stay.

    InputError: the cut was planned for another network; nothing is changed. NonFiniteError: the output of the cut
    network is NaN or infinite.
    """
    structure = trace(net, cut.input_CHW, roots=cut.removed.keys())
    removed = _units(structure, cut)
    kept = Kept(dict(structure.shapes), structure.kept(removed))
    carve.carve(net, kept.places)
    found = sum(parameter.numel() for parameter in net.parameters())
    assert found == cut.parameters, f"{found} parameters are left, but {cut.parameters} were planned"
    _require_sound(net, cut.input_CHW, structure.classes)
    return kept


def _units(structure: Structure, cut: Cut) -> dict[str, tuple[int, ...]]:
    """Translate channels to units by root layer. InputError: the cut was planned for another network."""
    groups = {group.root: group for group in structure.groups}
    removed: dict[str, tuple[int, ...]] = {}
    for layer, channels in cut.removed.items():
        units = groups[layer].units_of(channels) if layer in groups else None
        if units is None or len(units) == groups[layer].units:
            raise InputError(
                f"the cut does not fit this network: layer {layer} cannot lose the channels {list(channels[:8])}; "
                "plan it on this network"
            )
        removed[layer] = units
    after = structure.after(removed)
    planned, found = (cut.parameters, dict(cut.widths)), (int(after.prices.constant_B[0]), after.widths)
    ours = {layer: found[1].get(layer) for layer in planned[1]}  # ignored layers have no width in the cut
    if not removed or planned[0] != found[0] or planned[1] != ours:
        raise InputError(
            f"the cut does not fit this network: it would leave {found[0]} parameters, not {planned[0]} as planned; "
            "plan it on this network"
        )
    return removed


def _require_sound(net: nn.Module, input_CHW: tuple[int, int, int], classes: int) -> None:
    """Check the output of the cut network for two images."""
    first = next(net.parameters())
    generator = torch.Generator().manual_seed(0)
    image_BCHW = torch.randn(2, *input_CHW, generator=generator).to(first.device, first.dtype)
    with evaluating(net), torch.no_grad():
        logits_BK = net(image_BCHW)
    assert tuple(logits_BK.shape) == (2, classes), f"the head gives {tuple(logits_BK.shape)}, not (2, {classes})"
    if not bool(logits_BK.isfinite().all()):
        raise NonFiniteError("the cut network's output is not finite; check the weights before the cut")


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Put every module into evaluation mode, and back into its own mode afterwards."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        net.train()  # not by flags alone: networks such as LeViT drop cached results in train()
        for module, training in modes:
            module.training = training


def architecture_hash(net: nn.Module) -> str:
    """Return the SHA-256 of names and shapes of all parameters and buffers, to be compared between ranks."""
    shapes = [[name, list(tensor.shape)] for name, tensor in carve.tensors(net)]
    return hashlib.sha256(json.dumps(shapes).encode()).hexdigest()


def recalibrate(net: nn.Module, batches: Iterable[Tensor]) -> None:
    """Re-estimate BatchNorm statistics, as the mean over these batches of image_BCHW; weights and modes stay.

    UsageError: there is no batch; the old statistics stay.
    """
    norms = [
        layer
        for layer in net.modules()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.track_running_stats
    ]
    momenta = [norm.momentum for norm in norms]
    seen = 0
    with evaluating(net), torch.no_grad():
        try:
            for seen, image_BCHW in enumerate(batches, start=1):
                if seen == 1:
                    _restart(norms)
                net(image_BCHW)
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum
    if not seen:
        raise UsageError("there is no batch to estimate BatchNorm's statistics from; give one or more")


def _restart(norms: Iterable[nn.modules.batchnorm._BatchNorm]) -> None:
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
        norm.training = True
