"""What a run hands on to the one after a cut: its optimizer's momentum and its adapters, cut as the network was."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from models.pruning.surgery import Kept
from train.run_folder import checkpoint
from train.state import Progress

Tensors = dict[str, Tensor]


def carry_over(before: Path, after: Path, net: nn.Module, kept: Kept, layers: tuple[str, ...]) -> None:
    """Write the first checkpoint of a run into `after`, from the newest one in `before`; nothing if there is none.

    net: the network after the cut, whose weights the run begins with, and its moving average as well.
    layers: the student's layers that adapters are fitted to, in their order.
    """
    found = checkpoint.load_newest(before)
    if found is None:
        return
    old, record = found
    weights = {f"net.{name}": value for name, value in net.state_dict().items()}
    fitted = [f"adapters.convolutions.{i}.weight" for i in range(len(layers))]
    outputs = [_outputs(old[f"student/{name}"], layer, kept) for name, layer in zip(fitted, layers, strict=True)]
    adapters = {
        name: old[f"student/{name}"].index_select(1, kept_I) for name, kept_I in zip(fitted, outputs, strict=True)
    }
    new = {f"student/{name}": value for name, value in (weights | adapters).items()}
    if any(name.startswith("ema/") for name in old):
        new |= {f"ema/{name}": value.clone() for name, value in net.state_dict().items()}
    names = _stepped(net, adapters)
    for key, value in old.items():
        place, _, index_and_key = key.partition("/")
        if place == "optimizer":
            index, _, moment = index_and_key.partition("/")
            new[key] = _moment(names[int(index)], moment, value, kept, outputs)
    checkpoint.save(after, 0, new, {"progress": asdict(Progress()), "scaler": record["scaler"]})


def _outputs(weight: Tensor, layer: str, kept: Kept) -> Tensor:
    """Which of the channels that an adapter reads are left: those of the last tensor of its layer that has as many."""
    channels = weight.shape[1]
    inside = [name for name in kept.shapes if name.startswith(f"{layer}.") and kept.shapes[name][:1] == (channels,)]
    return torch.from_numpy(kept.indices(inside[-1], 0)) if inside else torch.arange(channels)


def _stepped(net: nn.Module, adapters: Tensors) -> list[str]:
    """Names of a student's parameters in the order in which `build_optimizer` numbers them."""
    trained = [(f"net.{name}", p.ndim) for name, p in net.named_parameters() if p.requires_grad]
    trained += [(name, weight.ndim) for name, weight in adapters.items()]
    return [name for name, ndim in trained if ndim > 1] + [name for name, ndim in trained if ndim <= 1]


def _moment(name: str, moment: str, value: Tensor, kept: Kept, outputs: list[Tensor]) -> Tensor:
    """One entry of an optimizer's state; what is not shaped as its parameter, such as a count of steps, stays."""
    if moment == "step":
        return value
    if name.startswith("adapters."):
        return value.index_select(1, outputs[int(name.split(".")[2])])
    return kept.select(name.removeprefix("net."), value)
