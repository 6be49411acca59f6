"""The canvas: a split decoded once to uint8 images of one size, in memory, and kept on disk for the next run.

Photographs are resized to a little more than the output's size, without regard to aspect. N images, R of them, H x W
pixels, C channels.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
import PIL
import torch
from numpy.typing import NDArray

from configs import resources
from configs.errors import UsageError
from configs.figures import percent
from configs.home import cache_folder
from data_pipes.executors import canvas_file
from data_pipes.executors.canvas_file import CanvasFile
from data_pipes.executors.canvas_keeper import Blocks, Decode, keep
from data_pipes.executors.render import RESIZED_MARGIN, Pixels, reduction, resize
from data_pipes.mixing import Rows
from data_pipes.plan import SizeHW
from data_pipes.sources.images import READER, ArrayImages, FileImages, as_channels
from data_pipes.sources.samples import Samples
from data_pipes.spec import DataSpec

HOST = torch.device("cpu")
# All that the pixels of `squash` depend on besides the files. Pillow reads TIFF.
DECODER = (
    f"reader {READER}, OpenCV {cv2.__version__}, Pillow {PIL.__version__}, torch {torch.__version__.partition('+')[0]}"
)
RESIZE = f"bilinear with antialias; JPEG reduced in decoding to {RESIZED_MARGIN:g} times the size or more"
KEPT_FROM = 256  # files; fewer are decoded in half a second
MEMORY_SHARE = 0.8  # of the available memory; the rest is for everything else that a run holds


def load(
    spec: DataSpec,
    samples: Samples,
    size_HW: SizeHW,
    decode: Decode | None = None,
    decoder: str = DECODER,
    device: torch.device = HOST,
) -> torch.Tensor:
    """The canvas: uint8 N x H x W x C on a device, row i for sample i.

    On the host it may be the samples' memory, or a file that the processes of the machine share: only read it. Other
    devices get it block by block; the host never holds more than one.

    size_HW: `choice.canvas_size` of the whole split. decode: None is `squash`. decoder: all that the pixels depend on
    besides the files. From KEPT_FROM files on, the canvas is kept in the cache; an array of images is used as it is.

    Raises UsageError when host memory is too small for it, and InputError naming a file that is gone or has changed.
    """
    shape = (len(samples), *size_HW, spec.channels)
    if isinstance(samples.images, ArrayImages) and samples.images.pixel_NHWC.shape[1:3] == size_HW:
        pixel_NHWC, row_N = samples.images.pixel_NHWC, samples.row_N
        if device.type == "cpu":
            return _gather(pixel_NHWC, row_N, spec.channels)
        return _streamed(shape, lambda rows: _gather(pixel_NHWC, row_N[rows], spec.channels), device)
    decode = decode or (lambda row_R: squash(spec, samples, row_R, size_HW))
    if isinstance(samples.images, FileImages) and len(samples) >= KEPT_FROM:
        origin = {"samples": samples.fingerprint, "decoder": decoder, "resize": RESIZE}
        note = {"split": samples.split, "root": str(samples.images.root), "first image": samples.key_N[0]}
        blocks = Blocks(shape, _checked(decode, samples, samples.images, spec))
        if device.type == "cpu":
            require_memory(shape, 1)
        kept_NHWC = keep(CanvasFile(cache_folder(), shape, origin), blocks, note, spec)
        if kept_NHWC is not None:
            kept = torch.from_numpy(kept_NHWC)
            return kept if device.type == "cpu" else _streamed(shape, lambda rows: kept[rows], device)
    if device.type == "cpu":
        require_memory(shape, resources.local_processes())
    return _streamed(shape, Blocks(shape, decode), device)


def _streamed(shape: tuple[int, ...], block: Callable[[slice], torch.Tensor], device: torch.device) -> torch.Tensor:
    canvas_NHWC = torch.empty(shape, dtype=torch.uint8, device=device)
    for rows in canvas_file.blocks(shape):
        canvas_NHWC[rows].copy_(block(rows))
    return canvas_NHWC


def squash(spec: DataSpec, samples: Samples, row_R: Rows, size_HW: SizeHW) -> torch.Tensor:
    """Some rows of a split, decoded by OpenCV in threads and resized: uint8 R x H x W x C."""
    canvas_RHWC = torch.empty((len(row_R), *size_HW, spec.channels), dtype=torch.uint8)
    reduce_R = reduction(samples.size_N2[row_R], size_HW, RESIZED_MARGIN)

    def fill(place: int) -> None:
        image = samples.read(int(row_R[place]), channels=spec.channels, reduce=int(reduce_R[place]))
        canvas_RHWC[place] = torch.from_numpy(resize(image, size_HW))

    with ThreadPoolExecutor(spec.thread_count, thread_name_prefix="canvas") as pool:
        list(pool.map(fill, range(len(row_R))))
    return canvas_RHWC


class CanvasImages:
    """A canvas as a store of images: reads return the squashed image, whatever `reduce` is."""

    def __init__(self, canvas_NHWC: torch.Tensor, crc_N: NDArray[np.uint32]) -> None:
        """crc_N: checksums of the original images."""
        assert canvas_NHWC.dtype == torch.uint8 and len(canvas_NHWC) == len(crc_N)
        self._canvas_NHWC: Pixels = canvas_NHWC.numpy()
        self.crc_N = crc_N

    def __len__(self) -> int:
        return len(self.crc_N)

    def read(self, row: int, *, channels: int, reduce: int = 1) -> Pixels:
        """Image `row`, HxWxchannels, at the canvas' size; a copy (4 us at 255 pixels), as from every store."""
        return as_channels(self._canvas_NHWC[row].copy(), channels)


def resident(samples: Samples, canvas_NHWC: torch.Tensor) -> Samples:
    """The same samples, with the same sizes and fingerprint, whose pixels are read from the canvas."""
    crc_N = samples.images.crc_N[samples.row_N]
    return replace(samples, row_N=np.arange(len(samples)), images=CanvasImages(canvas_NHWC, crc_N))


def require_memory(shape: tuple[int, ...], copies: int) -> None:
    """UsageError, before the kernel kills the process. copies: of the canvas on this machine, one where a file is
    shared, otherwise one in each process."""
    count, height, width, channels = shape
    need, available = count * height * width * channels, resources.available_memory()
    if available is None or need * copies <= MEMORY_SHARE * available:
        return
    shared = f" in each of {copies} processes" if copies > 1 else ""
    raise UsageError(
        f"{count:,} images decoded to {height} x {width} take {need:,} bytes of memory{shared}, more than "
        f"{percent(MEMORY_SHARE, 0)} of the {available:,} bytes that are available: decode them for each batch "
        f"(data.executor host, or data.dali.feed files), or choose a smaller data.canvas_scale or data.image_size"
    )


def _gather(pixel_NHWC: Pixels, row_N: Rows, channels: int) -> torch.Tensor:
    """Rows of an array, converted to `channels`: the array's own memory where nothing changes, otherwise one copy."""
    count, height, width, own = pixel_NHWC.shape
    if own == channels and pixel_NHWC.flags.writeable and np.array_equal(row_N, np.arange(count)):
        return torch.from_numpy(pixel_NHWC)
    require_memory((len(row_N), height, width, channels), resources.local_processes())
    tall = as_channels(pixel_NHWC[row_N].reshape(-1, width, own), channels)  # all images as one
    return torch.from_numpy(tall.reshape(len(row_N), height, width, channels))


def _checked(decode: Decode, samples: Samples, images: FileImages, spec: DataSpec) -> Decode:
    """`decode`, then InputError for a file that does not match the fingerprint: the canvas outlives the run."""

    def decode_and_check(row_R: Rows) -> torch.Tensor:
        block_RHWC = decode(row_R)
        with ThreadPoolExecutor(spec.thread_count, thread_name_prefix="canvas") as pool:
            list(pool.map(images.content, samples.row_N[row_R].tolist()))  # in the page cache: just read
        return block_RHWC

    return decode_and_check
