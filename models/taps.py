"""Outputs of inner layers, for layer-wise distillation (Romero et al., FitNets, arXiv:1412.6550)."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from torch import Tensor, nn

from configs.errors import UsageError

Hook = Callable[[nn.Module, object, object], None]


class Taps:
    """Records the outputs of named layers of `module` in a forward, until `take`.

    Of a layer that runs more than once, the last output is recorded. Gradients flow through the outputs. A deep copy of
    the module, such as an EMA, inherits the hooks but records nothing. UsageError: the module has no such layer.
    """

    def __init__(self, module: nn.Module, names: Sequence[str]) -> None:
        layers = dict(module.named_modules())
        del layers[""]
        for name in names:
            if name not in layers:
                raise UsageError(_unknown(name, list(layers)))
        self._names = tuple(names)
        self._outputs: dict[str, tuple[Tensor, int]] = {}
        self._handles = [
            layers[name].register_forward_hook(_hook(layers[name], name, self._outputs)) for name in self._names
        ]

    def take(self) -> dict[str, Tensor]:
        """Return the output of each layer by name, in the order of `names`, and clear them.

        UsageError: a layer has not run since the last call, or a later layer overwrote its output in place.
        """
        outputs = dict(self._outputs)
        self._outputs.clear()
        silent = [name for name in self._names if name not in outputs]
        if silent:
            raise UsageError(
                f"no output of {', '.join(silent)}: the network's forward does not run it; tap another layer"
            )
        for name, (output, version) in outputs.items():
            if _version(output) != version:
                raise UsageError(
                    f"the output of {name!r} was overwritten in place after it ran (an inplace ReLU or +=); "
                    "tap the layer that overwrites it, or the block that holds both"
                )
        return {name: outputs[name][0] for name in self._names}

    def close(self) -> None:
        """Remove the hooks and clear all outputs; calling it again does nothing."""
        for handle in self._handles:
            handle.remove()
        self._outputs.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _hook(layer: nn.Module, name: str, outputs: dict[str, tuple[Tensor, int]]) -> Hook:
    # A closure, because deepcopy does not copy functions: the hook of a copy still refers to the original `layer`, and
    # ignores calls for other layers. A bound method would copy this object and the tensors it holds.
    def keep(called: nn.Module, _: object, output: object) -> None:
        if called is not layer:
            return
        if not isinstance(output, Tensor):
            raise UsageError(f"layer {name!r} returns {type(output).__name__}, not one tensor; tap a layer inside it")
        outputs[name] = output, _version(output)

    return keep


def _version(tensor: Tensor) -> int:
    """Return how often the tensor was written to in place; 0 in inference mode, which does not count."""
    try:
        return tensor._version
    except RuntimeError:
        return 0


def _unknown(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    shallow = sorted(known, key=lambda layer: layer.count("."))[:8]
    return (
        f"the network has no layer {name!r}; {hint}some it has: {', '.join(shallow)} (distill.layers names the layers "
        "that are compared; distill.hint 0 and distill.attention 0 compare none)"
    )
