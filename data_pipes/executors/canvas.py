"""The canvas: a split decoded once to uint8 images of one size, in memory, and kept on disk for the next run.

Photographs are resized to a little more than the output's size, without regard to aspect. N images, R of them, H x W
pixels, C channels.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
import PIL
import torch
from numpy.typing import NDArray

from configs import resources, stopping
from configs.errors import UsageError
from configs.figures import percent
from configs.home import cache_folder
from data_pipes.executors import canvas_file
from data_pipes.executors.canvas_file import CanvasFile, Writer
from data_pipes.executors.render import RESIZED_MARGIN, Pixels, reduction, resize
from data_pipes.mixing import Rows
from data_pipes.plan import SizeHW
from data_pipes.sources.images import READER, ArrayImages, FileImages, as_channels
from data_pipes.sources.index import LOG_EVERY_SECONDS
from data_pipes.sources.samples import Samples
from data_pipes.spec import DataSpec

logger = logging.getLogger(__name__)

Decode = Callable[[Rows], torch.Tensor]
"""Rows of a split to uint8 R x H x W x C."""
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
) -> torch.Tensor:
    """The canvas: uint8 N x H x W x C on the host, row i for sample i. It may share the samples' memory: only read it.

    size_HW: `choice.canvas_size` of the whole split. decode: None is `squash`. decoder: all that the pixels depend on
    besides the files. From KEPT_FROM files on, the canvas is kept in the cache; an array of images is used as it is.

    Raises UsageError when memory is too small for it, and InputError naming a file that is gone or has changed.
    """
    if isinstance(samples.images, ArrayImages) and samples.images.pixel_NHWC.shape[1:3] == size_HW:
        return _gather(samples.images.pixel_NHWC, samples.row_N, spec.channels)
    shape = (len(samples), *size_HW, spec.channels)
    _require_memory(shape)
    canvas_NHWC = torch.empty(shape, dtype=torch.uint8)
    decode = decode or (lambda row_R: squash(spec, samples, row_R, size_HW))
    if isinstance(samples.images, FileImages) and len(samples) >= KEPT_FROM:
        origin = {"samples": samples.fingerprint, "decoder": decoder, "resize": RESIZE}
        note = {"split": samples.split, "root": str(samples.images.root), "first image": samples.key_N[0]}
        filler = _Filler(canvas_NHWC, _checked(decode, samples, samples.images, spec.thread_count))
        _keep(CanvasFile(cache_folder(), shape, origin), filler, note, spec.thread_count)
    else:
        filler = _Filler(canvas_NHWC, decode)
        for rows in canvas_file.blocks(shape):
            filler.fill(rows)
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


def _require_memory(shape: tuple[int, ...]) -> None:
    """UsageError, before the kernel kills the process. The processes of a machine share its memory."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    count, height, width, channels = shape
    need, available = count * height * width * channels, resources.available_memory()
    if available is None or need * processes <= MEMORY_SHARE * available:
        return
    shared = f" in each of {processes} processes" if processes > 1 else ""
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
    _require_memory((len(row_N), height, width, channels))
    tall = as_channels(pixel_NHWC[row_N].reshape(-1, width, own), channels)  # all images as one
    return torch.from_numpy(tall.reshape(len(row_N), height, width, channels))


class _Filler:
    """Decodes blocks of rows into a canvas and logs its progress."""

    def __init__(self, canvas_NHWC: torch.Tensor, decode: Decode) -> None:
        self.canvas_NHWC, self.decoded, self._decode = canvas_NHWC, 0, decode
        self._started = self._logged = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def fill(self, rows: slice) -> None:
        """Decode these rows. StoppedError: a stop is requested."""
        stopping.heed()
        block_RHWC = self._decode(np.arange(rows.start, rows.stop))
        target_RHWC = self.canvas_NHWC[rows]
        assert block_RHWC.dtype == torch.uint8 and block_RHWC.shape == target_RHWC.shape
        target_RHWC.copy_(block_RHWC)
        self.decoded += rows.stop - rows.start
        if time.monotonic() - self._logged > LOG_EVERY_SECONDS:
            self._logged = time.monotonic()
            logger.info("canvas: decoded %s in %.0f s", self, self.seconds)

    def __str__(self) -> str:
        count, height, width, _ = self.canvas_NHWC.shape
        some = "" if self.decoded in (0, count) else f"{self.decoded:,} of "
        return f"{some}{count:,} images of {height} x {width}"


def _checked(decode: Decode, samples: Samples, images: FileImages, threads: int) -> Decode:
    """`decode`, then InputError for a file that does not match the fingerprint: the canvas outlives the run."""

    def decode_and_check(row_R: Rows) -> torch.Tensor:
        block_RHWC = decode(row_R)
        with ThreadPoolExecutor(threads, thread_name_prefix="canvas") as pool:
            list(pool.map(images.content, samples.row_N[row_R].tolist()))  # in the page cache: just read
        return block_RHWC

    return decode_and_check


def _keep(file: CanvasFile, filler: _Filler, note: dict[str, str], threads: int) -> None:
    """Fill the canvas from its file; decode the blocks that the file lacks and complete it."""
    pixel_NHWC = filler.canvas_NHWC.numpy()
    size = f"{file.size / 1e9:.2f} GB"
    if file.read(pixel_NHWC, threads).lacking:
        with file.lock() as alone:
            # Another process may have written or repaired blocks meanwhile: warn only of what is still wrong.
            finding = file.read(pixel_NHWC, threads)
            if finding.damage:
                logger.warning("canvas: %s. Damaged blocks are decoded again", finding.damage)
            if finding.lacking:
                kept = _write(file, finding.lacking, filler, note, alone=alone)
                where = f"kept in {file.pixels}" if kept else "not kept"
                logger.info("canvas: %s decoded in %.1f s, %s (%s)", filler, filler.seconds, where, size)
                return
    logger.info("canvas: %s read from %s in %.1f s (%s)", filler, file.pixels, filler.seconds, size)


def _write(file: CanvasFile, lacking: frozenset[int], filler: _Filler, note: dict[str, str], *, alone: bool) -> bool:
    """Decode some blocks and write all of them; whether they are kept."""
    with Writer(file, alone=alone) as writer:
        for number, rows in enumerate(file.blocks):
            if number in lacking:
                filler.fill(rows)
            writer.append(filler.canvas_NHWC[rows].numpy())
        return writer.keep(note)
