"""Latency of networks, side by side: fewer MACs do not always make a network faster.

Every round times every network once and starts with another one, so that other load on the machine affects all alike.
A lap repeats a batch that is on the device already, after one call that is not timed. Ratios are taken within a round.
Reported are the median and quartiles over rounds, which one interrupted round does not change.

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
"""Approximate length of a lap: long against the clock's resolution and one interruption."""
WARM_UP = 3
"""Calls before the first lap, in which kernels are chosen, memory is allocated and caches are filled."""

Forward = Callable[[], object]
"""One forward pass; returns when the logits are computed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contender:
    """A network in one runtime."""

    network: str
    runtime: str
    input_CHW: tuple[int, int, int]
    bind: Callable[[Tensor], Forward]
    """Moves image_BCHW (float32, on the CPU) to the device and returns the forward pass over it."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, lower and upper quartile over rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def over(cls, values: Sequence[float]) -> Self:
        """Return the spread of at least two values."""
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """Latency of one contender at one batch size."""

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
    """Return the ratio of `slow` to `fast` within rounds."""
    return Spread.over([a / b for a, b in zip(slow.round_ms, fast.round_ms, strict=True)])


def eager(network: str, module: nn.Module, input_CHW: tuple[int, int, int], device: torch.device) -> Contender:
    """Return a network in eager PyTorch, in evaluation mode and channels_last, as in training; it is not changed."""
    twin = copy.deepcopy(module).to(device).to(memory_format=torch.channels_last).eval()

    def bind(image_BCHW: Tensor) -> Forward:
        ready_BCHW = image_BCHW.to(device=device, memory_format=torch.channels_last)

        def forward() -> None:
            with torch.inference_mode():
                twin(ready_BCHW)
            if device.type == "cuda":
                torch.cuda.synchronize(device)  # sync: kernels are only queued so far

        return forward

    return Contender(network=network, runtime="torch", input_CHW=input_CHW, bind=bind)


def measure(
    contenders: Sequence[Contender],
    *,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    rounds: int = ROUNDS,
    show: Callable[[str], None] = lambda words: None,
) -> list[Latency]:
    """Time every contender at every batch size. show: called with the progress. UsageError: fewer than two rounds."""
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
    """Return milliseconds per batch, by contender and round."""
    show(f"latency at batch {batch_size}: warm-up")
    passes = [contender.bind(_batch(batch_size, contender.input_CHW)) for contender in contenders]
    calls = [max(1, math.ceil(LAP_SECONDS / _warm_up(forward))) for forward in passes]
    found: list[list[float]] = [[] for _ in contenders]
    for number in range(rounds):
        show(f"latency at batch {batch_size}: round {number + 1} of {rounds}")
        for place in range(len(contenders)):
            which = (place + number) % len(contenders)
            passes[which]()  # the previous one has filled the caches with its weights
            found[which].append(1e3 * _seconds(passes[which], calls[which]))
    return found


def _batch(batch_size: int, input_CHW: tuple[int, int, int]) -> Tensor:
    generator = torch.Generator().manual_seed(0)  # leaves the caller's random state unchanged
    return torch.randn(batch_size, *input_CHW, generator=generator)


def _warm_up(forward: Forward) -> float:
    """Return the seconds of the fastest of a few calls."""
    return min(_seconds(forward, 1) for _ in range(WARM_UP))


def _seconds(forward: Forward, calls: int) -> float:
    """Return mean seconds per call."""
    start = time.perf_counter()
    for _ in range(calls):
        forward()
    return (time.perf_counter() - start) / calls
