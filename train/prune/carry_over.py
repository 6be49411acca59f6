"""State that a run takes over from the one before a cut: momentum and adapters, cut as the network was."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor, nn

from models.pruning.surgery import Kept
from train.loss.adapters import Adapters
from train.loss.losses import as_map
from train.optim.optimizer import NamedState
from train.state import Progress, SavedState, Tensors
from train.student import Student, example_features

logger = logging.getLogger(__name__)
CHW = tuple[int, int, int]


def carry_over(
    before: Path, after: Path, net: nn.Module, kept: Kept, layers: tuple[str, ...], *, input_CHW: CHW, seed: int
) -> None:
    """Write the first checkpoint of a run into `after`, from the newest one in `before`; nothing if there is none.

    net: the network after the cut, whose weights the run begins with, and its moving average as well.
    layers: the student's layers that adapters are fitted to, in their order. An adapter whose channels cannot be
    followed through the cut, such as that of a layer without tensors of its own, is drawn anew from `seed`.
    """
    old = SavedState.newest(before)
    if old is None:
        return
    weights = {Student.net_parameter(name): value for name, value in net.state_dict().items()}
    adapters, inputs = _adapters(old, net, kept, layers, input_CHW, seed)
    new = SavedState(
        student=weights | adapters,
        ema={name: value.clone() for name, value in net.state_dict().items()} if old.ema else {},
        best={},
        optimizer=_optimizer(old.optimizer, net, kept, inputs),
        progress=Progress(),
        scaler=old.scaler,
    )
    new.write(after)


def _adapters(
    old: SavedState, net: nn.Module, kept: Kept, layers: tuple[str, ...], input_CHW: CHW, seed: int
) -> tuple[Tensors, dict[str, Tensor]]:
    """Return the weights of all adapters, and the input channels that were kept of those that are not drawn anew."""
    if not layers:
        return {}, {}
    features = example_features(net, layers, torch.zeros(1, *input_CHW))
    names = [Student.adapter_weight(pair) for pair in range(len(layers))]
    channels = [
        (as_map(feature).shape[1], len(old.student[name])) for name, feature in zip(names, features, strict=True)
    ]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        drawn = Adapters(channels)
    weights = dict(zip(names, drawn.state_dict().values(), strict=True))
    inputs = {}
    for name, layer in zip(names, layers, strict=True):
        kept_I = _inputs(old.student[name], layer, kept)
        if len(kept_I) == weights[name].shape[1]:
            inputs[name], weights[name] = kept_I, old.student[name].index_select(1, kept_I)
        else:
            logger.info("the adapter of layer %s begins anew: which of its channels the cut left is not known", layer)
    return weights, inputs


def _inputs(weight: Tensor, layer: str, kept: Kept) -> Tensor:
    """Return the input channels that an adapter keeps: those of the last tensor of its layer with as many."""
    channels = weight.shape[1]
    inside = [name for name in kept.shapes if name.startswith(f"{layer}.") and kept.shapes[name][:1] == (channels,)]
    return torch.from_numpy(kept.indices(inside[-1], 0)) if inside else torch.arange(channels)


def _optimizer(old: NamedState, net: nn.Module, kept: Kept, inputs: dict[str, Tensor]) -> NamedState:
    """Cut each tensor of an optimizer's state as its parameter; counts of steps stay."""
    own = {Student.net_parameter(name): name for name, _ in net.named_parameters()}
    new: NamedState = {}
    for name, values in old.items():
        if name not in own and name not in inputs:
            continue  # an adapter that begins anew
        new[name] = {}
        for key, value in values.items():
            if key == "step":
                new[name][key] = value
            elif name in inputs:
                new[name][key] = value.index_select(1, inputs[name])
            else:
                new[name][key] = kept.select(own[name], value)
    return new
