"""Expressions that build the layers of torch.nn, as Python source."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from configs.errors import InputError

WIDTH = 100
"""Longest line of an expression."""
KEPT = ("in_channels", "out_channels", "in_features", "out_features", "num_features", "num_channels", "num_groups")
"""Arguments that are written without their names."""
_UNWRITTEN = ("device", "dtype", "args", "kwargs", "self", "_freeze", "_weight", "init")


def literal(value: Any) -> str:
    """Return a constant as source. InputError: it is not a plain value."""
    if isinstance(value, bool | int | str | None | torch.dtype | torch.memory_format) or value is Ellipsis:
        return "..." if value is Ellipsis else str(value) if isinstance(value, torch.dtype) else repr(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else f'float("{value}")'
    if isinstance(value, torch.device):
        return f"torch.device({str(value)!r})"
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))}{',' * (len(value) == 1)})"
    raise InputError(f"a {type(value).__name__} cannot be written as source")


def call(name: str, arguments: list[str], brackets: str = "()") -> str:
    """Return a call on one line, or with each argument on a line of its own."""
    line = f"{name}{brackets[0]}{', '.join(arguments)}{brackets[1]}"
    if len(line) <= WIDTH and "\n" not in line:
        return line
    return f"{name}{brackets[0]}\n{indented(''.join(f'{one},{chr(10)}' for one in arguments))}{brackets[1]}"


def indented(text: str, by: str = "    ") -> str:
    """Return lines moved to the right; empty ones stay empty."""
    return "".join(by + line if line.strip() else line for line in text.splitlines(keepends=True))


def plain_class(layer: nn.Module) -> type[nn.Module] | None:
    """Return the class of torch.nn whose forward a layer has; None if the forward is another."""
    for base in type(layer).__mro__:
        if base.__module__.startswith("torch.nn.modules") and getattr(nn, base.__name__, None) is base is not nn.Module:
            return base if getattr(base, "forward", None) is type(layer).forward else None
    return None


def constructor(layer: nn.Module, cls: type[nn.Module]) -> str:
    """Return the expression that builds a layer of torch.nn with other weights. InputError: none does."""
    given, parameters = _arguments(layer, cls), inspect.signature(cls.__init__).parameters
    required = [name for name, one in parameters.items() if one.default is one.empty and name in given]
    wanted = _traits(layer, cls)
    for shorten in (_short, lambda value: value):
        arguments = {name: shorten(value) for name, value in given.items()}
        if _traits(_built(cls, arguments), cls) == wanted:
            break
    else:
        raise InputError(f"no arguments of nn.{cls.__name__} give {layer}")
    for name in [name for name in arguments if name not in required]:
        fewer = {key: value for key, value in arguments.items() if key != name}
        if _traits(_built(cls, fewer), cls) == wanted:
            arguments = fewer
    places = required[:2]
    return call(f"nn.{cls.__name__}", [_named(name, value, places) for name, value in arguments.items()])


def _arguments(layer: nn.Module, cls: type[nn.Module]) -> dict[str, Any]:
    """Return the arguments of the constructor that differ from their defaults, as the layer has them."""
    found = {}
    for name, parameter in inspect.signature(cls.__init__).parameters.items():
        if name in _UNWRITTEN or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        value = _argument(layer, name)
        if parameter.default is parameter.empty or parameter.default not in (value, _short(value)):
            found[name] = value
    return found


def _built(cls: type[nn.Module], arguments: Mapping[str, Any]) -> nn.Module | None:
    """Return a layer without weights; None if it does not take the arguments."""
    try:
        with torch.device("meta"):
            return cls(**arguments)
    except (TypeError, ValueError, RuntimeError):
        return None


def container(module: nn.Module) -> type[nn.Module] | None:
    """Return which plain container of torch.nn a module is: Sequential, ModuleList or ModuleDict; None: neither."""
    if plain_class(module) is nn.Sequential:
        return nn.Sequential
    return type(module) if type(module) in (nn.ModuleList, nn.ModuleDict) else None


def _traits(layer: nn.Module | None, cls: type[nn.Module]) -> dict[str, Any] | None:
    """Return everything by which two layers of a class of torch.nn differ, except for their weights."""
    if layer is None:
        return None
    own = {*inspect.signature(cls.__init__).parameters, *vars(cls).get("__constants__", ())}
    plain = {
        name: value
        for name, value in vars(layer).items()
        if name in own and isinstance(value, bool | int | float | str | tuple | None)
    }
    shapes = {name: tuple(tensor.shape) for name, tensor in layer.state_dict().items()}
    return {"shapes": shapes, "shown": layer.extra_repr(), "plain": plain}


def _argument(layer: nn.Module, name: str) -> Any:
    if name == "bias" and isinstance(layer, nn.MultiheadAttention):
        return layer.in_proj_bias is not None
    value = getattr(layer, name, None)
    if name in ("bias", "add_bias_kv"):
        return (layer.bias_k if name == "add_bias_kv" else value) is not None
    if isinstance(value, Tensor):
        raise InputError(f"{name} of {layer} is a tensor")
    return value


def _short(value: Any) -> Any:
    """Return (3, 3) as 3, which layers of torch.nn take for the same."""
    if isinstance(value, tuple) and len(value) > 1 and len(set(value)) == 1 and isinstance(value[0], int):
        return value[0]
    return value


def _named(name: str, value: Any, places: list[str]) -> str:
    by_place = name in places and (name in KEPT or name == places[0])
    return literal(value) if by_place else f"{name}={literal(value)}"
