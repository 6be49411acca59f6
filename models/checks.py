"""What every network asks of its request before the first layer is made."""

from __future__ import annotations

from collections.abc import Sequence

from configs.errors import UsageError

SMALL = 64
"""Images up to this height, in pixels, get a stem that keeps their resolution."""


def require_widths(name: str, widths: Sequence[int], own: Sequence[int]) -> tuple[int, ...]:
    """Return `widths` as a tuple; UsageError unless there are as many as the network's `own`."""
    if len(widths) != len(own):
        listed = " ".join(map(str, own))
        raise UsageError(f"{name} takes {len(own)} widths, not {len(widths)}; its own are {listed}")
    return tuple(widths)


def require_size(name: str, input_CHW: tuple[int, int, int], smallest: int) -> None:
    """UsageError if the image is lower or narrower than `smallest` pixels."""
    _, height, width = input_CHW
    if min(height, width) < smallest:
        raise UsageError(f"{name} needs images of at least {smallest} x {smallest} pixels, not {height} x {width}")
