"""Run a copy of a network to inspect it: a large one on the meta device if its forward allows that, else on the CPU."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from configs.errors import InputError

Result = TypeVar("Result")
Run = Callable[[nn.Module, Tensor], Result]
SMALL = 100_000_000
"""Weights times pixels, which bounds the multiply-accumulates for an image: some milliseconds on a CPU."""


def probe(net: nn.Module, input_CHW: tuple[int, int, int], run: Run[Result], *, batch: int = 1, purpose: str) -> Result:
    """Return `run(twin, image_BCHW)`; the network, its mode and hooks, and the random state are not changed.

    The twin is in evaluation mode and its parameters need no gradients. A large one is tried on the meta device first,
    where nothing is computed; a small one, and a forward that creates tensors or reads values, gets zeros on the CPU.

    Args:
        net: The network, on any device.
        input_CHW: The image.
        run: Called once or twice, each time on a fresh twin.
        batch: The number of images.
        purpose: The end of the message where `run` fails, such as "its MACs cannot be counted".

    Raises:
        InputError: The network does not take such images, or it does but `run` fails; the message says which. An
            InputError of `run` is passed on.
    """
    with torch.random.fork_rng(devices=[]):
        try:
            if not _is_small(net, input_CHW):
                return run(*_ready(net, input_CHW, batch, "meta"))
        except InputError:
            raise
        except Exception:  # any exception: the forward is not ours, and meta tensors have no data
            pass
        return _run_for_real(net, input_CHW, run, batch, purpose)


def twin(net: nn.Module, device: str) -> nn.Module:
    """Return a copy in evaluation mode on the CPU or the meta device; its parameters need no gradients."""
    memo: dict[int, Any] = {}
    for parameter in net.parameters():
        memo[id(parameter)] = nn.Parameter(_copied(parameter, device), requires_grad=False)
    for tensor in [*net.buffers(), *_cached_results(net)]:
        memo[id(tensor)] = _copied(tensor, device)
    # Networks such as LeViT cache results of a forward in evaluation mode, and drop them in train().
    return copy.deepcopy(net, memo).train().eval()


def duplicate(net: nn.Module) -> nn.Module:
    """Return a deep copy, of networks too that keep results of a forward, which `deepcopy` by itself refuses."""
    kept: dict[int, Any] = {id(tensor): tensor.detach().clone() for tensor in _cached_results(net)}
    return copy.deepcopy(net, kept)


def _cached_results(net: nn.Module) -> Iterator[Tensor]:
    """Yield tensors that a forward cached on layers and that `deepcopy` refuses."""
    for layer in net.modules():
        for value in vars(layer).values():
            inside = (
                value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
            )
            yield from (tensor for tensor in inside if isinstance(tensor, Tensor) and tensor.grad_fn is not None)


def run_once(net: nn.Module, input_CHW: tuple[int, int, int]) -> None:
    """Run one image of this shape through a copy. Raises what the forward raises."""
    try:
        probe(net, input_CHW, lambda other, image_BCHW: other(image_BCHW), purpose="it cannot be run")
    except InputError as error:
        raise error.__cause__ or error from error


def _copied(tensor: Tensor, device: str) -> Tensor:
    return torch.empty_like(tensor, device="meta") if device == "meta" else tensor.detach().to(device, copy=True)


def _is_small(net: nn.Module, input_CHW: tuple[int, int, int]) -> bool:
    """Whether computing takes less time than the meta device, whose normalisation layers are Python."""
    parameters = list(net.parameters())
    uses = sum(parameter.numel() for parameter in parameters) * input_CHW[1] * input_CHW[2]
    return uses <= SMALL and all(parameter.device.type == "cpu" for parameter in parameters)


def _ready(net: nn.Module, input_CHW: tuple[int, int, int], batch: int, device: str) -> tuple[nn.Module, Tensor]:
    dtype = next((p.dtype for p in net.parameters() if p.is_floating_point()), torch.float32)
    return twin(net, device), torch.zeros(batch, *input_CHW, device=device, dtype=dtype)


@contextmanager
def _plain_operators() -> Iterator[None]:
    """Use the operators that the meta device has, none of oneDNN's own, such as a whole LSTM in one."""
    before = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = before


def _run_for_real(
    net: nn.Module, input_CHW: tuple[int, int, int], run: Run[Result], batch: int, purpose: str
) -> Result:
    try:
        with _plain_operators():
            return run(*_ready(net, input_CHW, batch, "cpu"))
    except InputError:
        raise
    except Exception as error:
        why = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        size = " x ".join(map(str, input_CHW))
        try:
            other, image_BCHW = _ready(net, input_CHW, batch, "cpu")
            with torch.no_grad():
                other(image_BCHW)
        except Exception:
            raise InputError(f"the network does not take an image of {size} ({why})") from error
        raise InputError(f"the network takes an image of {size}, but {purpose} ({why})") from error
