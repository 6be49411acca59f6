"""Networks without initial weights: those that a file fills, and those of which only names and shapes are looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_FILLS: frozenset[Callable[..., Any]] = frozenset({
    *(Tensor.uniform_, Tensor.normal_, Tensor.log_normal_, Tensor.exponential_, Tensor.cauchy_, Tensor.bernoulli_),
    *(nn.init.uniform_, nn.init.normal_, nn.init.kaiming_uniform_),  # the three that modes see as a whole
})  # fmt: skip


@contextmanager
def blank() -> Iterator[None]:
    """Build networks with zeros in place of random weights, several times faster. The random state is not changed."""
    with torch.random.fork_rng(devices=[]), _Unfilled():
        yield


class _Unfilled(TorchFunctionMode):
    """Whatever fills a tensor at random fills it with zeros; on the meta device it does nothing."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func not in _FILLS:
            return func(*args, **kwargs)
        tensor: Tensor = args[0] if args else kwargs["tensor"]
        with torch.no_grad():
            return tensor if tensor.is_meta else tensor.zero_()
