"""A network as one Python module that needs torch alone: a class per kind of layer, the whole as nested constructors.

Names of layers, parameters and buffers are those of the network, so that its state dict fits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from configs.errors import InputError
from models.export.constructors import call, constructor, container, indented, plain_class
from models.export.forward_source import Call, access, source

LAYER = '''
class Layer(nn.Module):
    """A layer made of parts: layers, parameters and buffers by name."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            if isinstance(part, (nn.Module, nn.Parameter)):
                setattr(self, name, part)
            else:
                self.register_buffer(name, part)
'''
STOCHASTIC_DEPTH = '''
class StochasticDepth(nn.Module):
    """In training, sets whole samples to zero with probability p, and scales the others up."""

    def __init__(self, p, scale=True):
        super().__init__()
        self.p, self.scale = p, scale

    def forward(self, x):
        if self.p == 0 or not self.training:
            return x
        kept = torch.empty(x.shape[0], *[1] * (x.ndim - 1), dtype=x.dtype, device=x.device).bernoulli_(1 - self.p)
        return x * (kept / (1 - self.p) if self.scale and self.p < 1 else kept)
'''


RESERVED = ("Layer", "StochasticDepth", "F", "nn", "torch", "OrderedDict")


@dataclass
class _Source:
    """Classes so far, by what they do, and statements that come after the constructors."""

    net: nn.Module
    calls: Mapping[str, Call]
    classes: dict[tuple[str, str], str] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    modules: dict[int, str] = field(default_factory=dict)
    tensors: dict[int, str] = field(default_factory=dict)

    def expression(self, path: str, module: nn.Module) -> str:
        """Return what builds a module. InputError names the layer that cannot be written."""
        if (first := self.modules.setdefault(id(module), path)) != path:
            self.shared.append(f"{access(self.net, path, 'net')} = {access(self.net, first, 'net')}")
            return "nn.Identity()"
        self._note_tied(path, module)
        try:
            return self._expression(path, module)
        except InputError as error:
            if getattr(error, "named", False):
                raise
            shown = f"layer {path}" if path else "the network itself"
            refusal = InputError(f"{shown} ({type(module).__name__}) cannot be written as plain PyTorch: {error}")
            refusal.named = True  # type: ignore[attr-defined]
            raise refusal from error

    def _expression(self, path: str, module: nn.Module) -> str:
        if (depth := _stochastic_depth(module)) is not None:
            self._add("StochasticDepth", "", STOCHASTIC_DEPTH)
            return depth
        kind, cls = container(module), plain_class(module)
        if kind is None and cls not in (None, nn.ModuleList, nn.ModuleDict):
            return constructor(module, cls)
        parts = {
            name: self.expression(f"{path}.{name}".lstrip("."), child)
            for name, child in module._modules.items()
            if child is not None
        }
        if kind is nn.Sequential:
            return _sequential(parts)
        if kind is nn.ModuleList:
            return call("nn.ModuleList", [call("", list(parts.values()), "[]")])
        if kind is nn.ModuleDict:
            return call("nn.ModuleDict", [call("", [f"{name!r}: {part}" for name, part in parts.items()], "{}")])
        return self._composed(path, module, parts)

    def _composed(self, path: str, module: nn.Module, layers: dict[str, str]) -> str:
        forward = source(module, self.calls[path]) if path in self.calls else ""
        name = self._class(type(module).__name__, forward)
        tensors = {name: _parameter(tensor) for name, tensor in module._parameters.items() if tensor is not None}
        tensors |= {name: _zeros(tensor) for name, tensor in module._buffers.items() if tensor is not None}
        parts = [f"{key}={part}" for key, part in (tensors | layers).items() if key.isidentifier()]
        odd = [f"{key!r}: {part}" for key, part in (tensors | layers).items() if not key.isidentifier()]
        if odd and parts:
            raise InputError(f"its parts {', '.join(odd)} have numbers for names beside others")
        return call(name, [f"**{call('', odd, '{}')}"] if odd else parts)

    def _class(self, name: str, forward: str) -> str:
        """Return the class with this forward, new or known."""
        name = name if name.isidentifier() and name not in RESERVED else f"{name}_"
        if (name, forward) not in self.classes:
            unique, number = name, 1
            while unique in self.classes.values():
                unique, number = f"{name}{number + 1}", number + 1
            body = indented(forward) if forward else "    pass\n"
            self.classes[name, forward] = unique
            self.texts.append(f"\n\nclass {unique}(Layer):\n{body}")
        return self.classes[name, forward]

    def _add(self, name: str, forward: str, text: str) -> None:
        if (name, forward) not in self.classes:
            self.classes[name, forward] = name
            self.texts.append(f"\n{text}")

    def _note_tied(self, path: str, module: nn.Module) -> None:
        for name, parameter in module._parameters.items():
            full = f"{path}.{name}".lstrip(".")
            if parameter is not None and (first := self.tensors.setdefault(id(parameter), full)) != full:
                self.shared.append(f"{access(self.net, full, 'net')} = {access(self.net, first, 'net')}")


def write(net: nn.Module, image_BCHW: Tensor) -> str:
    """Return classes and `get_student_model()` for a network on the CPU, which runs once; it is not changed.

    InputError: a layer that torch.fx cannot follow, or that has other functions than torch's; it is named.
    """
    found = _Source(net, _calls(net, image_BCHW))
    root = found.expression("", net)
    dtypes = {tensor.dtype for tensor in net.state_dict().values() if tensor.is_floating_point()} - {torch.float32}
    lines = [f"net = {root}", *found.shared, *(f"net.to({dtype})" for dtype in dtypes), "return net"]
    if lines[1:] == ["return net"]:
        lines = [f"return {root}"]
    start = '    """Return the network; load_state_dict gives it its weights."""\n'
    body = indented("".join(f"{line}\n" for line in lines))
    return f"{LAYER}{''.join(found.texts)}\n\ndef get_student_model():\n{start}{body}"


def _calls(net: nn.Module, image_BCHW: Tensor) -> dict[str, Call]:
    """Return how each layer is called in a forward, by path. InputError: in several ways."""
    found: dict[str, Call] = {}
    faults: list[str] = []

    def note(path: str, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if plain_class(module) is not None and not isinstance(module, nn.ModuleDict | nn.ModuleList):
            return
        try:
            how = Call.of(module, args, kwargs)
            if found.setdefault(path, how) != how:
                faults.append(f"layer {path} is called in several ways")
        except InputError as error:
            faults.append(f"layer {path} ({type(module).__name__}) cannot be written as plain PyTorch: {error}")

    handles = [
        module.register_forward_pre_hook(
            lambda module, args, kwargs, path=path: note(path, module, args, kwargs), with_kwargs=True
        )
        for path, module in net.named_modules()
    ]
    with torch.no_grad():
        net(image_BCHW)
    for handle in handles:
        handle.remove()
    if faults:
        raise InputError(faults[0])
    return found


def _stochastic_depth(module: nn.Module) -> str | None:
    """Return the constructor for torchvision's StochasticDepth by row, or timm's DropPath; None for others."""
    kind = f"{type(module).__module__}.{type(module).__name__}"
    if kind == "timm.layers.drop.DropPath":
        scale = "" if module.scale_by_keep else ", scale=False"
        return f"StochasticDepth({float(module.drop_prob or 0)!r}{scale})"  # type: ignore[arg-type]
    if kind == "torchvision.ops.stochastic_depth.StochasticDepth" and module.mode == "row":
        return f"StochasticDepth({float(module.p)!r})"  # type: ignore[arg-type]
    return None


def _sequential(parts: dict[str, str]) -> str:
    if list(parts) == [str(number) for number in range(len(parts))]:
        return call("nn.Sequential", list(parts.values()))
    items = [f"({name!r}, {part})" for name, part in parts.items()]
    return call("nn.Sequential", [call("OrderedDict", [call("", items, "[]")])])


def _parameter(tensor: Tensor) -> str:
    frozen = "" if tensor.requires_grad else ", requires_grad=False"
    return f"nn.Parameter({_zeros(tensor)}{frozen})"


def _zeros(tensor: Tensor) -> str:
    dtype = "" if tensor.is_floating_point() else f", dtype={tensor.dtype}"
    size = ", ".join(map(str, tensor.shape)) or "()"
    return f"torch.zeros({size}{dtype})"
