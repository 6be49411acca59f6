"""A forward whose channels are followed, operation by operation."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.hooks import RemovableHandle
from torch.utils.weak import WeakTensorKeyDictionary

from models.pruning.flow import rules
from models.pruning.flow.calls import Call
from models.pruning.flow.labels import FIXED, Labels, Ledger
from models.pruning.groups import OUTPUT


@dataclass(eq=False)
class Flow:
    """What a forward showed."""

    ledger: Ledger = field(default_factory=Ledger)
    output: Any = None
    error: Exception | None = None
    """What the forward raised; the ledger then ends there."""
    blamed: tuple[Labels, ...] = ()
    """Labels of the tensors that the failing operation took."""
    failed_in: str = ""
    """The innermost layer that was running then."""
    unread: frozenset[str] = frozenset()
    """Tensors of the network that the forward did not take."""


class _Following(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, flow: Flow, stack: list[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flow, self.stack = flow, stack
        self.labels: MutableMapping[Tensor, Labels] = WeakTensorKeyDictionary()
        self.unread: MutableMapping[Tensor, str] = WeakTensorKeyDictionary()
        self.last: tuple[Tensor, ...] = ()

    def labels_of(self, tensor: Tensor) -> Labels:
        return self.labels.get(tensor) or (FIXED,) * tensor.dim()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        schema = func._schema.arguments
        arguments = {argument.name: value for argument, value in zip(schema, args, strict=False)} | kwargs
        arguments = {a.name: a.default_value for a in schema if a.has_default_value()} | arguments
        name = func._schema.name.partition("::")[2]
        where = self.stack[-1] or "the forward"
        self.last = tuple(_tensors(arguments.values()))
        for tensor in self.last:
            self.unread.pop(tensor, None)
        out = func(*args, **kwargs)
        outs = tuple(_tensors([out]))
        if outs:
            call = Call(self.flow.ledger, self.labels_of, arguments, outs, name, where)
            found = rules.apply(call, rules.is_pointwise(func))
            for tensor, labels in zip(outs, found, strict=False):
                self.labels[tensor] = labels
        self.last = ()
        return out


def _tensors(values: Any) -> list[Tensor]:
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += _tensors(value)
    return found


def follow(net: nn.Module, image_BCHW: Tensor, tensors: Sequence[tuple[str, Tensor]]) -> Flow:
    """Run a twin, in evaluation mode, and follow its channels.

    An exception of the forward is kept, not raised: it says which channels it does not allow to be cut.
    """
    flow, stack = Flow(), [""]
    mode = _Following(flow, stack)
    kernels = tuple(f"{name}." for name, layer in net.named_modules() if isinstance(layer, nn.modules.conv._ConvNd))
    for name, tensor in tensors:
        if tensor not in mode.labels:
            dims = 2 if tensor.dim() > 2 and name.startswith(kernels) else tensor.dim()
            mode.labels[tensor] = flow.ledger.register(name, tensor, dims)
            mode.unread[tensor] = name
    hooks = [hook for name, layer in net.named_modules() for hook in _naming(layer, name, stack)]
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), mode:
            flow.output = net(image_BCHW)
    except Exception as error:  # any exception: the forward is not ours
        flow.error, flow.failed_in = error, stack[-1]
        flow.blamed = tuple(mode.labels_of(tensor) for tensor in mode.last)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for hook in hooks:
            hook.remove()
    flow.unread = frozenset(mode.unread.values())
    for tensor in _tensors([flow.output]):
        for label in mode.labels_of(tensor):
            flow.ledger.stop(label, OUTPUT)
    return flow


def _naming(layer: nn.Module, name: str, stack: list[str]) -> tuple[RemovableHandle, RemovableHandle]:
    """Keep the name of the running layer on top of a stack."""

    def enter(*_: Any) -> None:
        stack.append(name)

    def leave(*_: Any) -> None:
        stack.pop()

    return layer.register_forward_pre_hook(enter), layer.register_forward_hook(leave)
