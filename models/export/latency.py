"""How long networks take, side by side: MACs that fall do not always make a network faster. Never in the training path.

Every round times every network once and begins with another one, so whatever else the machine does meets all alike.
Each lap repeats a batch that lies on the device already, after one call that is not timed. Ratios are taken within a
round. What is reported is the median over rounds with the quartiles, which one interrupted round does not move.

Shapes: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from configs.errors import UsageError

BATCH_SIZES = (1, 64)
ROUNDS = 20
LAP_SECONDS = 0.05
"""A lap repeats its call for about so long: the clock and one interruption then weigh little."""
WARM_UP = 3
"""Calls before the first lap: kernels are chosen, memory is allocated, caches and clocks settle."""

Forward = Callable[[], object]
"""One forward pass; returns when the logits are there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contender:
    """A network as one runtime runs it."""

    network: str
    runtime: str
    input_CHW: tuple[int, int, int]
    bind: Callable[[Tensor], Forward]
    """Takes image_BCHW (float32, on the CPU) to where it is needed and returns the forward pass over it."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Median over rounds, lower and upper quartile."""

    median: float
    low: float
    high: float

    @classmethod
    def over(cls, values: Sequence[float]) -> Self:
        """Of at least two values."""
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """What one contender took at one batch size."""

    network: str
    runtime: str
    batch_size: int
    round_ms: tuple[float, ...]
    """Milliseconds per batch in each round."""

    @property
    def ms(self) -> Spread:
        """Milliseconds per batch."""
        return Spread.over(self.round_ms)


def speedup(slow: Latency, fast: Latency) -> Spread:
    """How many times longer `slow` takes than `fast`, in the same rounds."""
    return Spread.over([a / b for a, b in zip(slow.round_ms, fast.round_ms, strict=True)])


def eager(network: str, module: nn.Module, input_CHW: tuple[int, int, int], device: torch.device) -> Contender:
    """PyTorch as it is, in evaluation mode and channels_last, as training runs it too. The module is not touched."""
    twin = copy.deepcopy(module).to(device).to(memory_format=torch.channels_last).eval()

    def bind(image_BCHW: Tensor) -> Forward:
        ready_BCHW = image_BCHW.to(device=device, memory_format=torch.channels_last)

        def forward() -> None:
            with torch.inference_mode():
                twin(ready_BCHW)
            if device.type == "cuda":
                torch.cuda.synchronize(device)  # sync: a kernel that is only queued has taken no time yet

        return forward

    return Contender(network=network, runtime="torch", input_CHW=input_CHW, bind=bind)


def measure(
    contenders: Sequence[Contender],
    *,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    rounds: int = ROUNDS,
    show: Callable[[str], None] = lambda words: None,
) -> list[Latency]:
    """Time every contender at every batch size; `show` is told what goes on. UsageError: fewer than two rounds."""
    if rounds < 2:
        raise UsageError(f"rounds is {rounds}; a spread needs at least 2")
    found = []
    for batch_size in batch_sizes:
        laps = _laps(contenders, batch_size, rounds, show)
        for contender, round_ms in zip(contenders, laps, strict=True):
            named = {"network": contender.network, "runtime": contender.runtime}
            found.append(Latency(**named, batch_size=batch_size, round_ms=tuple(round_ms)))
    return found


def _laps(
    contenders: Sequence[Contender], batch_size: int, rounds: int, show: Callable[[str], None]
) -> list[list[float]]:
    """Milliseconds per batch, by contender and round."""
    show(f"latency at batch {batch_size}: warm-up")
    passes = [contender.bind(_batch(batch_size, contender.input_CHW)) for contender in contenders]
    calls = [max(1, math.ceil(LAP_SECONDS / _warm_up(forward))) for forward in passes]
    found: list[list[float]] = [[] for _ in contenders]
    for number in range(rounds):
        show(f"latency at batch {batch_size}: round {number + 1} of {rounds}")
        for place in range(len(contenders)):
            which = (place + number) % len(contenders)
            passes[which]()  # the one before has filled the caches with its own weights
            found[which].append(1e3 * _seconds(passes[which], calls[which]))
    return found


def _batch(batch_size: int, input_CHW: tuple[int, int, int]) -> Tensor:
    generator = torch.Generator().manual_seed(0)  # the caller's random state stays as it is
    return torch.randn(batch_size, *input_CHW, generator=generator)


def _warm_up(forward: Forward) -> float:
    """Seconds of the quickest of a few calls."""
    return min(_seconds(forward, 1) for _ in range(WARM_UP))


def _seconds(forward: Forward, calls: int) -> float:
    """Mean seconds per call."""
    start = time.perf_counter()
    for _ in range(calls):
        forward()
    return (time.perf_counter() - start) / calls
