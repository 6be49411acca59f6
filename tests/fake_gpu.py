"""A GPU that is not there: the training step on a fake cuda:0, and what a real one would have waited for.

torch's FakeTensorMode runs every operator on tensors that have a shape, a type and a device and no data. A mismatch of
devices fails as on a GPU, and so does one of types in a product, or of layouts in a fused update. `Gpu` counts what
makes the host wait for the device: reads of values (`.item()`, `.tolist()`, `bool()`), operators whose output has a
shape that depends on values (nonzero, a boolean index), and copies that are not from page-locked memory without
blocking. Backward is replaced, because its engine asks the CUDA driver: gradients are zeros of the parameters' shapes.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import accelerate
import accelerate.state
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils import _foreach_utils
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CUDA = torch.device("cuda:0")
ROOT = Path(__file__).parent.parent
COPIES = ("_to_copy", "copy_")
SHAPED_BY_VALUES = ("nonzero", "bincount", "masked_select", "_unique2", "unique_dim", "repeat_interleave")
PRODUCTS = ("convolution", "_convolution", "linear", "addmm", "mm", "bmm", "baddbmm")
INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_")


class Gpu(TorchDispatchMode):
    """Counts, by the line of ours that is responsible, what makes the host wait for the fake device."""

    def __init__(self) -> None:
        super().__init__()
        self.syncs: Counter[str] = Counter()
        self.blocking_copies: Counter[str] = Counter()
        self.copies = 0
        """Of all kinds, from the host to the device."""
        self._pinned: list[Tensor] = []

    def reset(self) -> None:
        """Forget what was counted."""
        self.syncs.clear()
        self.blocking_copies.clear()
        self.copies = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.split("::")[1]
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if name == "is_pinned":
            return self._is_pinned(args[0])
        if name == "_pin_memory":
            return self._pin(args[0].clone())
        if any(tensor.is_cuda for tensor in tensors) and (answer := self._waits(name, args)) is not None:
            return answer
        if name == "_local_scalar_dense":  # on the host: nobody waits
            return _made_up(args[0])
        if name.startswith("_fused_"):
            _require_one_layout(name, args)
        if name == "_fused_sgd_":  # torch has no version of it without data
            return None
        if kwargs.get("pin_memory"):
            return self._pin(func(*args, **{**kwargs, "pin_memory": False}))
        kinds = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
        if name in PRODUCTS and len(kinds) > 1:  # without data, torch does not check this
            raise RuntimeError(f"{name} multiplies types: {kinds}")
        made = func(*args, **kwargs)
        if name in COPIES:
            self._count_copy(name, args, kwargs, made)
        return made

    def _waits(self, name: str, args: tuple[Any, ...]) -> Any:
        """Count an operator that reads values of the device, and answer for it; None if it does not."""
        if name == "_local_scalar_dense":
            self.syncs[f"item at {_site()}"] += 1
            return _made_up(args[0])
        if name == "equal":
            self.syncs[f"equal at {_site()}"] += 1
            return True
        if name in SHAPED_BY_VALUES:
            self.syncs[f"{name} at {_site()}"] += 1
            length = args[2] if name == "bincount" and len(args) > 2 else args[0].numel()
            return args[0].new_empty((length, args[0].ndim) if name == "nonzero" else (length,), dtype=torch.int64)
        if name in INDEXING and any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1]):
            self.syncs[f"boolean {name} at {_site()}"] += 1
            return args[0].clone() if name == "index" else args[0]
        return None

    def _count_copy(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], made: Tensor) -> None:
        source = args[0] if name == "_to_copy" else args[1]
        if source.device.type == made.device.type:
            return
        free = kwargs.get("non_blocking", False) or (name == "copy_" and len(args) > 2 and args[2])
        if source.is_cuda:
            self.syncs[f"copy to the host at {_site()}"] += 1
            return
        self.copies += 1
        if not (free and self._is_pinned(source)):
            self.blocking_copies[_site()] += 1

    def _pin(self, tensor: Tensor) -> Tensor:
        self._pinned.append(tensor)
        return tensor

    def _is_pinned(self, tensor: Tensor) -> bool:
        base = tensor._base if tensor._base is not None else tensor
        return any(base is pinned for pinned in self._pinned)


def _require_one_layout(name: str, args: tuple[Any, ...]) -> None:
    """Refuse what a fused optimizer refuses on a GPU: gradients or moments that lie in memory otherwise than weights.

    torch: `check_fast_path_restrictions` in ATen/native/ForeachUtils.h. args: lists of weights, gradients, and moments.
    """
    weights, *others = [tensors for tensors in args[: 3 if name == "_fused_sgd_" else 4] if tensors]
    for tensors in others:
        if any(_strides(one) != _strides(weight) for one, weight in zip(tensors, weights, strict=True)):
            raise RuntimeError(f"{name}: params, grads and moments must have same dtype, device, and layout")


def _strides(tensor: Tensor) -> list[int]:
    """Strides of the sides that are longer than 1: others do not matter."""
    return [stride for stride, side in zip(tensor.stride(), tensor.shape, strict=True) if side > 1]


def _made_up(tensor: Tensor) -> bool | float:
    """A value where a real tensor has one."""
    return False if tensor.dtype == torch.bool else 1.0 if tensor.dtype.is_floating_point else 1


def _site() -> str:
    """The innermost line of the project, or of a library that it calls, that is responsible."""
    frame: FrameType | None = sys._getframe()
    library = ""
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(str(ROOT)) and "site-packages" not in path and path != __file__:
            return f"{Path(path).relative_to(ROOT)}:{frame.f_lineno}{library}"
        if not library and any(part in path for part in ("torch/optim", "torch/amp", "accelerate/", "timm/")):
            library = f" in {path.rpartition('site-packages/')[2]}:{frame.f_lineno}"
        frame = frame.f_back
    return f"unknown{library}"


class Event:
    """An event on the device's stream; the times are those of the host."""

    def __init__(self, *, enable_timing: bool) -> None:
        assert enable_timing
        self.recorded = 0.0

    def record(self) -> None:
        """Note the time; a real one is noted by the device, and the host does not wait."""
        self.recorded = time.monotonic()

    def elapsed_time(self, other: Event) -> float:
        """Milliseconds."""
        return 1000 * (other.recorded - self.recorded)


class AtOnce:
    """A pool that does its work in the caller's thread: FakeTensorMode belongs to one."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def submit(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        """Do it now."""
        done: Future[Any] = Future()
        try:
            done.set_result(work(*args, **kwargs))
        except BaseException as error:
            done.set_exception(error)
        return done

    def shutdown(self, *_: Any, **__: Any) -> None:
        """Nothing is left to do."""


def _apply(self: nn.Module, move: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """nn.Module._apply with new parameters: torch's own swaps data, which fake tensors cannot."""
    for module in self.modules() if recurse else [self]:
        for name, parameter in module._parameters.items():
            if parameter is not None and (moved := move(parameter)) is not parameter:
                module._parameters[name] = nn.Parameter(moved.detach(), parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = move(buffer)
    return self


def _deep_copy(self: Tensor, memo: dict[int, Any]) -> Tensor:
    """A copy without data: torch's own would copy memory that is not there, and crash the process later."""
    copied = self.detach().clone()
    memo[id(self)] = copied = nn.Parameter(copied, self.requires_grad) if isinstance(self, nn.Parameter) else copied
    return copied


def _backward(self: accelerate.Accelerator, loss: Tensor, **_: Any) -> None:
    """Gradients of zero where a real backward would leave some."""
    assert loss.requires_grad and loss.ndim == 0
    if self.scaler is not None:
        self.scaler.scale(loss)
    for model in self._models:
        for parameter in model.parameters():
            if parameter.requires_grad and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)


def _forget_accelerator() -> None:
    accelerate.state.AcceleratorState._reset_state(True)
    accelerate.state.GradientState._reset_state()


@contextmanager
def fake_gpu(*pools: Any) -> Iterator[Gpu]:
    """Run on a fake cuda:0. pools: modules of ours whose ThreadPoolExecutor works at once."""
    with pytest.MonkeyPatch.context() as patch, FakeTensorMode(allow_non_fake_inputs=True), Gpu() as gpu:
        _forget_accelerator()
        patch.delenv("ACCELERATE_USE_CPU", raising=False)  # which hides real GPUs from tests
        patch.setattr(torch.accelerator, "is_available", lambda: True)
        patch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)
        patch.setattr(torch.cuda, "current_device", lambda: 0)
        patch.setattr(torch.cuda, "Event", Event)
        patch.setattr(torch.cuda, "mem_get_info", lambda *_: (70 << 30, 80 << 30))
        patch.setattr(torch.cuda, "default_generators", (torch.Generator(),))
        on_host = torch.Generator
        patch.setattr(torch, "Generator", lambda *_, **__: on_host())
        patch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
        patch.setattr(accelerate.state.PartialState, "default_device", CUDA)
        patch.setattr(accelerate.state, "check_cuda_p2p_ib_support", lambda: True)
        patch.setattr(accelerate.Accelerator, "backward", _backward)
        patch.setattr(nn.Module, "_apply", _apply)
        patch.setattr(FakeTensor, "__deepcopy__", _deep_copy)
        kinds = _foreach_utils._foreach_supported_types
        patch.setattr(_foreach_utils, "_foreach_supported_types", kinds)
        kinds.append(FakeTensor)
        for module in pools:
            patch.setattr(module, "ThreadPoolExecutor", AtOnce)
        try:
            yield gpu
        finally:
            kinds.remove(FakeTensor)
            _forget_accelerator()
