"""Adapt the first layers of a network to the image: to its channels, and to small sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import torch
from torch import Tensor, nn

from models.probe import twin


def set_channels(net: nn.Module, channels: int, *, keep_weights: bool) -> None:
    """Give the first convolution `channels` inputs. keep_weights: adapt the pretrained kernel."""
    name, conv = _first_conv(net, lambda conv: True)
    if conv.in_channels != channels:
        net.set_submodule(name, _rebuilt(conv, channels=channels, keep_weights=keep_weights))


def for_small_images(net: nn.Module, *, keep_weights: bool, beside: Sequence[str] = ()) -> None:
    """Keep the resolution of images of 28 to 64 pixels in the stem.

    A ResNet gets a 3x3 stride-1 convolution and no max-pool (He et al., arXiv:1512.03385, section 4.2), a patchify stem
    patches of half the side, any other network stride 1 in its first strided convolution, if it has one. The
    convolutions named in `beside` change likewise.
    """
    is_resnet = hasattr(net, "maxpool") and hasattr(net, "layer1")
    if is_resnet:
        net.maxpool = nn.Identity()
    try:
        first, _ = _first_conv(net, lambda conv: conv.stride[0] > 1)
    except LookupError:
        return
    for name in dict.fromkeys([first, *beside]):
        _keep_resolution(net, name, is_resnet=is_resnet, keep_weights=keep_weights)


def parallel_branches(net: nn.Module, input_CHW: tuple[int, int, int]) -> list[str]:
    """Return the convolutions with the input and the stride of the first strided one: its parallel branches.

    They are found in a forward of a copy, which may fail after the stem.
    """
    read: dict[str, Tensor] = {}
    copied = twin(net, "cpu")
    first, conv = _first_conv(copied, lambda conv: conv.stride[0] > 1)
    for name, layer in copied.named_modules():
        if isinstance(layer, nn.Conv2d) and layer.stride == conv.stride:
            layer.register_forward_pre_hook(_recording(name, read))
    with torch.no_grad(), suppress(Exception):  # the image may be too small for later layers
        copied(torch.zeros(1, *input_CHW))
    return [name for name, image_BCHW in read.items() if name != first and image_BCHW is read.get(first)]


def _recording(name: str, read: dict[str, Tensor]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def record(_: nn.Module, images: tuple[Tensor, ...]) -> None:
        read[name] = images[0]

    return record


def _keep_resolution(net: nn.Module, name: str, *, is_resnet: bool, keep_weights: bool) -> None:
    conv = net.get_submodule(name)
    assert isinstance(conv, nn.Conv2d)
    kernel, stride = conv.kernel_size[0], conv.stride[0]
    if kernel == stride:
        half = max(1, kernel // 2)
        net.set_submodule(name, _rebuilt(conv, kernel=half, stride=half, padding=0, keep_weights=keep_weights))
    elif is_resnet and kernel > 3:
        net.set_submodule(name, _rebuilt(conv, kernel=3, stride=1, padding=1, keep_weights=keep_weights))
    else:
        conv.stride = (1, 1)


def _first_conv(net: nn.Module, wanted: Callable[[nn.Conv2d], bool]) -> tuple[str, nn.Conv2d]:
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d) and wanted(module):
            return name, module
    raise LookupError("no such convolution")


def _rebuilt(
    conv: nn.Conv2d,
    *,
    channels: int | None = None,
    kernel: int | None = None,
    stride: int | None = None,
    padding: int | None = None,
    keep_weights: bool,
) -> nn.Conv2d:
    """Return a convolution like `conv` with these changes. keep_weights: adapt its kernel."""
    new = type(conv)(
        conv.in_channels if channels is None else channels,
        conv.out_channels,
        conv.kernel_size if kernel is None else kernel,  # type: ignore[arg-type]
        conv.stride if stride is None else stride,  # type: ignore[arg-type]
        conv.padding if padding is None else padding,  # type: ignore[arg-type]
        bias=conv.bias is not None,
    )
    if keep_weights:
        with torch.no_grad():
            new.weight.copy_(_fitted(conv.weight, new.in_channels, new.kernel_size[0]))
            if conv.bias is not None and new.bias is not None:
                new.bias.copy_(conv.bias)
    return new


def _fitted(weight_OIHW: Tensor, channels: int, kernel: int) -> Tensor:
    """Crop the kernel's centre, and spread its sum over channels, so that outputs for grey images stay the same."""
    top = (weight_OIHW.shape[-1] - kernel) // 2
    centre_OIHW = weight_OIHW[..., top : top + kernel, top : top + kernel]
    if weight_OIHW.shape[1] == channels:
        return centre_OIHW
    grey_O1HW = centre_OIHW.sum(1, keepdim=True) / channels
    return grey_O1HW.expand(-1, channels, -1, -1)
