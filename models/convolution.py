"""Workaround for wrong weight gradients of strided 1x1 convolutions on the CPU.

oneDNN's backward pass by weights overruns its workspace for a 1x1 convolution with a stride, such as a ResNet's
shortcut, over few channels in channels_last: it crashes, hangs, or returns wrong gradients
(https://github.com/uxlfoundation/oneDNN/issues/6035). The pixels that the convolution reads, taken with stride 1, give
the same gradients.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]
"""With respect to image, weight and bias; None where not requested."""


@cache
def make_backward_safe() -> torch.library.Library:
    """Replace the backward pass of strided 1x1 convolutions on the CPU, for the lifetime of this process.

    torch unregisters the replacement when the returned library is freed; the cache keeps it alive.
    """
    original = torch.library.get_kernel("aten::convolution_backward", "CPU")

    def backward(keys: Any, gradient: Tensor, image: Tensor, weight: Tensor, *rest: Any) -> Gradients:
        bias_sizes, stride, padding, dilation, transposed, *others = rest
        if max(stride) == 1 or any(side > 1 for side in weight.shape[2:]) or any(padding) or transposed:
            return original.call_boxed(keys, gradient, image, weight, *rest)  # type: ignore[no-any-return]
        read = (slice(None), slice(None), *(slice(None, None, step) for step in stride))
        plain = (bias_sizes, [1] * len(stride), padding, dilation, transposed, *others)
        by_read, by_weight, by_bias = original.call_boxed(keys, gradient, image[read], weight, *plain)
        return _spread(by_read, image, read), by_weight, by_bias

    library = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
    library.impl("convolution_backward", backward, "CPU", with_keyset=True)  # type: ignore[no-untyped-call]
    return library


def _spread(by_read: Tensor | None, image: Tensor, read: tuple[slice, ...]) -> Tensor | None:
    """Gradient of the whole image from that of the pixels read; it is zero elsewhere."""
    if by_read is None:
        return None
    by_image = torch.zeros_like(image)
    by_image[read] = by_read
    return by_image
