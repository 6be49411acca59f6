"""Optimizers, and their state by parameter name."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from configs.errors import InputError
from train.config import OptimSpec

NamedState = dict[str, dict[str, Tensor]]
"""Tensors of an optimizer's state, such as exp_avg, by parameter name: their order in the optimizer means nothing."""


def build_optimizer(spec: OptimSpec, module: nn.Module) -> Optimizer:
    """Build AdamW or SGD for the trained parameters of a module; biases, norms and other vectors are not decayed.

    On an NVIDIA GPU the update is one fused kernel that reads the count of steps and, in fp16, whether gradients
    overflowed on the device; other implementations have the host read both.
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": spec.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    fused = True if all(parameter.is_cuda for parameter in trained) else None
    if spec.name == "sgd":
        momentum = spec.momentum
        sgd = torch.optim.SGD(groups, lr=spec.lr, momentum=momentum, nesterov=momentum > 0, fused=fused)
        _fill_momentum(sgd)
        return sgd
    return torch.optim.AdamW(groups, lr=spec.lr, betas=(spec.momentum, 0.999), fused=fused)


def named_state(optimizer: Optimizer, module: nn.Module) -> NamedState:
    """Return the state of a module's parameters by name; parameters that have none are left out."""
    tensors = ((name, optimizer.state.get(parameter, {})) for name, parameter in module.named_parameters())
    found = {
        name: {key: value for key, value in values.items() if isinstance(value, Tensor)} for name, values in tensors
    }
    return {name: values for name, values in found.items() if values}


def load_named_state(optimizer: Optimizer, module: nn.Module, state: NamedState) -> None:
    """Load what `named_state` returned; hyperparameters stay as they are.

    Moments are laid out in memory as their parameters are, for example channels_last: torch's fused kernels refuse
    others on a GPU.

    InputError: the state is of a parameter that the optimizer does not have, or of one with another shape.
    """
    names = {parameter: name for name, parameter in module.named_parameters()}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    numbers = {names[parameter]: number for number, parameter in enumerate(parameters)}
    numbered: dict[int, dict[str, Any]] = {}
    for name, values in state.items():
        number = numbers.get(name)
        if number is None:
            raise InputError(f"the optimizer's state is of parameter {name}, which the network does not train")
        numbered[number] = {
            key: value if key == "step" else _laid_out_as(parameters[number], value, f"{key} of {name}")
            for key, value in values.items()
        }
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": numbered, "param_groups": groups})
    _fill_momentum(optimizer)


def _fill_momentum(optimizer: Optimizer) -> None:
    """Give each parameter of an SGD with momentum its buffer, of zeros: the first update makes it the gradient.

    torch's fused kernel makes all buffers itself or none, of uninitialised memory, and leaves them so where gradients
    of fp16 overflow in that step: the next one adds what was there to the weights.
    """
    for group in optimizer.param_groups:
        if group.get("momentum"):
            for parameter in group["params"]:
                if "momentum_buffer" not in optimizer.state[parameter]:
                    optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def _laid_out_as(parameter: Tensor, value: Tensor, what: str) -> Tensor:
    """Copy a value into memory of the parameter's layout, on its own device."""
    if value.shape != parameter.shape:
        raise InputError(
            f"the optimizer's {what} has shape {tuple(value.shape)}; the parameter's is {tuple(parameter.shape)}"
        )
    return torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value)
