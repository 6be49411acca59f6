"""Checks of a network's settings and of the images it takes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from configs.errors import InputError, UsageError

SMALL = 64
"""Height in pixels up to which images get a stem that keeps their resolution."""


def require_widths(name: str, widths: Sequence[int], own: Sequence[int]) -> tuple[int, ...]:
    """Return `widths` as a tuple; UsageError unless there are as many as the network's `own`."""
    if len(widths) != len(own):
        listed = " ".join(map(str, own))
        raise UsageError(f"{name} takes {len(own)} widths, not {len(widths)}; its own are {listed}")
    return tuple(widths)


def require_size(name: str, input_CHW: tuple[int, int, int], smallest: int) -> None:
    """UsageError if the image is smaller than `smallest` pixels on a side."""
    _, height, width = input_CHW
    if min(height, width) < smallest:
        raise UsageError(f"{name} needs images of at least {smallest} x {smallest} pixels, not {height} x {width}")


def require_takes(
    net: nn.Module, own_CHW: tuple[int, int, int], input_CHW: tuple[int, int, int], who: str, way: str = ""
) -> None:
    """InputError, with advice, if a network in evaluation mode that was built for `own_CHW` cannot take `input_CHW`.

    Most networks can; vision transformers have a fixed image size, and deep stacks of poolings need enough pixels.
    """
    if own_CHW == input_CHW:
        return
    try:
        with torch.no_grad():
            net(torch.zeros(1, *input_CHW))
    except Exception as error:  # any exception: the forward is not ours
        made, shown = (f"{height} x {width}" for _, height, width in (own_CHW, input_CHW))
        way = way or f"use data.image_size [{own_CHW[1]}, {own_CHW[2]}], or another network"
        why = str(error).partition("\n")[0].rstrip(".")
        raise InputError(f"{who} is made for images of {made} pixels and cannot take {shown} ({why}); {way}") from error
