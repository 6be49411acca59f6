"""State that a run takes over from the one before a cut: momentum and adapters, cut as the network was."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from models.pruning.surgery import Kept
from train.optim.optimizer import NamedState
from train.state import Progress, SavedState
from train.student import Student


def carry_over(before: Path, after: Path, net: nn.Module, kept: Kept, layers: tuple[str, ...]) -> None:
    """Write the first checkpoint of a run into `after`, from the newest one in `before`; nothing if there is none.

    net: the network after the cut, whose weights the run begins with, and its moving average as well.
    layers: the student's layers that adapters are fitted to, in their order.
    """
    old = SavedState.newest(before)
    if old is None:
        return
    weights = {Student.net_parameter(name): value for name, value in net.state_dict().items()}
    inputs = {
        name: _inputs(old.student[name], layer, kept)
        for name, layer in ((Student.adapter_weight(pair), layer) for pair, layer in enumerate(layers))
    }
    new = SavedState(
        student=weights | {name: old.student[name].index_select(1, kept_I) for name, kept_I in inputs.items()},
        ema={name: value.clone() for name, value in net.state_dict().items()} if old.ema else {},
        best={},
        optimizer=_optimizer(old.optimizer, net, kept, inputs),
        progress=Progress(),
        scaler=old.scaler,
    )
    new.write(after)


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
        new[name] = {}
        for key, value in values.items():
            if key == "step":
                new[name][key] = value
            elif name in inputs:
                new[name][key] = value.index_select(1, inputs[name])
            else:
                new[name][key] = kept.select(own[name], value)
    return new
