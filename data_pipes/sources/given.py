"""Images that a program hands over: paths, PIL images, arrays, tensors. H x W pixels, C channels, N images."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from configs.errors import InputError
from configs.home import expand
from data_pipes.sources import examination, index, pillow_formats
from data_pipes.sources.images import ArrayImages, FileImages, ImageStore, orient

Given = str | os.PathLike[str] | Image.Image | NDArray[np.uint8] | torch.Tensor
"""One image. NumPy arrays are uint8 H x W or H x W x C in RGB order, as PIL's; tensors are uint8 H x W or C x H x W, as
torchvision's."""


@dataclass(frozen=True, slots=True)
class Opened:
    """One image, in a store of its own."""

    images: ImageStore
    size_HW: tuple[int, int]
    """Height and width of the upright image."""

    @property
    def encoded(self) -> bool:
        """Whether it is a file, which may be decoded at a reduced scale."""
        return isinstance(self.images, FileImages)


def several(images: Given | Iterable[Given]) -> list[Given]:
    """The images of an iterable, or of a batch, which is N x H x W x C as an array and N x C x H x W as a tensor."""
    if isinstance(images, np.ndarray | torch.Tensor):
        return list(images) if images.ndim == 4 else [images]
    return [images] if isinstance(images, str | os.PathLike | Image.Image) else list(images)


def opened(image: Given) -> Opened:
    """Open an image, within `examination.strict_pillow`.

    InputError: it cannot be read, or is not of the forms of `Given`; the message says what it is.
    """
    if isinstance(image, str | os.PathLike):
        return _file(Path(image))
    if isinstance(image, Image.Image):
        return _in_memory(_of_pillow(image))
    if isinstance(image, torch.Tensor):
        return _in_memory(_of_array(image.detach().cpu().numpy(), "tensor", channels_last=False))
    if isinstance(image, np.ndarray):
        return _in_memory(_of_array(image, "array", channels_last=True))
    raise InputError(f"an image is a path, a PIL image, a NumPy array or a torch tensor, not a {type(image).__name__}")


def _file(path: Path) -> Opened:
    path = expand(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the images in it, such as sorted(Path({str(path)!r}).iterdir())")
    entry = examination.examine(path)
    if entry.reason:
        raise InputError(f"{path}: {entry.reason}")
    one = index.table(path.parent, [path.name], [entry])
    return Opened(one.images(), (entry.height, entry.width))


def _of_pillow(image: Image.Image) -> NDArray[np.uint8]:
    """RGB pixels, upright, without alpha, as of the same image in a file."""
    if image.mode not in examination.MODES:
        raise InputError(f"a PIL image of mode {image.mode}; convert it to L or RGB")
    try:
        image.load()
        grey = image.mode.startswith("I;16")
        pixel_HWC = pillow_formats.grey_of_16_bits(image) if grey else np.array(image.convert("RGB"))
        return orient(pixel_HWC, examination.orientation_of(image))
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"a PIL image that cannot be read ({error})") from error


def _of_array(pixels: NDArray[np.uint8], name: str, *, channels_last: bool) -> NDArray[np.uint8]:
    form = "H x W or H x W x 3" if channels_last else "H x W or 3 x H x W"
    if pixels.dtype != np.uint8:
        raise InputError(
            f"an image {name} of {pixels.dtype}; expected uint8 levels from 0 to 255, {form}: shares in [0, 1] become "
            "levels by (x * 255).round(), and normalised images cannot be taken back"
        )
    full = pixels[..., None] if pixels.ndim == 2 else pixels if channels_last else np.moveaxis(pixels, 0, -1)
    if full.ndim != 3 or full.shape[2] not in (1, 3, 4) or 0 in full.shape:
        raise InputError(f"an image {name} of shape {tuple(pixels.shape)}; expected {form}, with 1, 3 or 4 channels")
    return full[..., :3]


def _in_memory(pixel_HWC: NDArray[np.uint8]) -> Opened:
    return Opened(ArrayImages(pixel_HWC[None]), (pixel_HWC.shape[0], pixel_HWC.shape[1]))
