"""Stores of images, which are read by row: uint8, upright, with the requested channels.

Shape suffixes: N images, H height, W width, C channels (1 grey, 3 RGB).
"""

from __future__ import annotations

import errno
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from configs.errors import InputError, UsageError
from configs.files import read_regular
from data_pipes.sources import pillow_formats

READER = 2  # Part of the identity of cached pixels: increase it whenever `decode` gives other pixels.
OPENCV = 5
OPENCV_REMEDY = (
    "pip uninstall opencv-python opencv-contrib-python; pip install --force-reinstall 'opencv-python-headless>=5'"
)
WAITING_THREADS = 16  # threads that look at files or read them wait for the disk or the network most of the time
JPEG_MAGIC = b"\xff\xd8"
# With IMREAD_COLOR_RGB these flags set the scale only; the REDUCED_COLOR ones would select BGR as well.
REDUCED = {2: cv2.IMREAD_REDUCED_GRAYSCALE_2, 4: cv2.IMREAD_REDUCED_GRAYSCALE_4, 8: cv2.IMREAD_REDUCED_GRAYSCALE_8}


def require_opencv(version: str) -> None:
    """UsageError for an OpenCV before 5, whose pixels differ: notebooks install opencv-python 4 over ours."""
    if int(version.partition(".")[0]) < OPENCV:
        raise UsageError(
            f"OpenCV {version} is installed, and its pixels differ from those of OpenCV {OPENCV}, which is needed; "
            f"{OPENCV_REMEDY}"
        )


require_opencv(cv2.__version__)


class ImageStore(Protocol):
    """Images that can be read individually, by several threads at once."""

    crc_N: NDArray[np.uint32]
    """CRC-32 of each image's content: of the file's bytes, or of the pixels if there is no file."""

    def __len__(self) -> int: ...

    def read(self, row: int, *, channels: int, reduce: int = 1) -> NDArray[np.uint8]:
        """Image `row` as a new HxWxchannels array. `reduce` (1, 2, 4, 8) allows the store to return it at 1/reduce of
        its size, which the shape then shows."""


class ArrayImages:
    """Images of one size in memory."""

    def __init__(self, pixel_NHWC: NDArray[np.uint8]) -> None:
        assert pixel_NHWC.dtype == np.uint8 and pixel_NHWC.ndim == 4 and pixel_NHWC.shape[3] in (1, 3)
        self.pixel_NHWC = np.ascontiguousarray(pixel_NHWC)
        self.crc_N = np.array([zlib.crc32(pixel_HWC.data) for pixel_HWC in self.pixel_NHWC], np.uint32)

    def __len__(self) -> int:
        return len(self.pixel_NHWC)

    def read(self, row: int, *, channels: int, reduce: int = 1) -> NDArray[np.uint8]:
        """Image `row`, HxWxchannels, always at full size."""
        return as_channels(self.pixel_NHWC[row].copy(), channels)


class FileImages:
    """Image files below a folder, which must be the ones that the index saw."""

    def __init__(
        self,
        root: Path,
        path_N: Sequence[str],
        byte_N: NDArray[np.int64],
        crc_N: NDArray[np.uint32],
        orientation_N: NDArray[np.uint8],
    ) -> None:
        assert len(path_N) == len(byte_N) == len(crc_N) == len(orientation_N)
        self.root = root
        self.path_N = tuple(path_N)
        self.byte_N = byte_N
        self.crc_N = crc_N
        self.orientation_N = orientation_N

    def __len__(self) -> int:
        return len(self.path_N)

    def read(self, row: int, *, channels: int, reduce: int = 1) -> NDArray[np.uint8]:
        """Image `row`, HxWxchannels; JPEG files at 1/reduce of their size, rounded up.

        InputError names a file that is missing or no longer the one that the index saw.
        """
        return self.decoded(row, self.content(row), channels=channels, reduce=reduce)

    def decoded(self, row: int, data: bytes, *, channels: int, reduce: int = 1) -> NDArray[np.uint8]:
        """`read` from what `content` returned."""
        pixel_HWC = decode(data, reduce)
        if pixel_HWC is None:
            raise InputError(f"{self.path(row)}: this file cannot be decoded; save it anew, for example as PNG")
        return as_channels(orient(pixel_HWC, int(self.orientation_N[row])), channels)

    def path(self, row: int) -> Path:
        """The file of image `row`."""
        return self.root / self.path_N[row]

    def content(self, row: int) -> bytes:
        """The encoded image. InputError: the file is missing, or has another length or checksum than in the index."""
        try:
            data = read_regular(self.path(row), int(self.byte_N[row]))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise self._stale(row, "the file is gone") from error
        except OSError as error:
            if error.errno != errno.EFBIG:
                raise
            size = self.path(row).stat().st_size
            raise self._stale(row, f"the file has {size} bytes, the index says {self.byte_N[row]}") from error
        if len(data) != self.byte_N[row]:
            raise self._stale(row, f"the file has {len(data)} bytes, the index says {self.byte_N[row]}")
        if zlib.crc32(data) != self.crc_N[row]:  # 0.1 ms for a photograph, whose decoding takes 20 times as long
            raise InputError(
                f"{self.path(row)}: its content has changed: the index is stale. Start again; where the file's time "
                "stayed the same, `touch` it first"
            )
        return data

    def _stale(self, row: int, found: str) -> InputError:
        return InputError(
            f"{self.path(row)}: {found}: the index is stale. Start again; files must not change while a run reads them"
        )


def decode(data: bytes, reduce: int = 1) -> NDArray[np.uint8] | None:
    """RGB pixels of an encoded image, HxWx3, before orientation (except TIFF, which is upright); None: undecodable.

    Alpha is dropped; of 16 bits, the high byte is kept.
    """
    assert reduce in (1, 2, 4, 8)
    # OpenCV multiplies the colours of a TIFF by alpha, and orients it by its own rules.
    if kind := pillow_formats.kind_of(data):
        return pillow_formats.decode(data, kind)
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    # Only libjpeg reduces while decoding; for other formats OpenCV would subsample afterwards and alias.
    if reduce > 1 and data[:2] == JPEG_MAGIC:
        flags |= REDUCED[reduce]
    try:
        pixel_HWC: NDArray[np.uint8] | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    return pixel_HWC


def orient(pixel_HWC: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Upright pixels, by an EXIF orientation of 1 to 8 (EXIF 2.3, tag 0x0112)."""
    if orientation in (5, 6, 7, 8):
        pixel_HWC = pixel_HWC.transpose(1, 0, 2)
    # After the transposition, only mirrors along the axes remain.
    if orientation in (3, 4, 7, 8):
        pixel_HWC = pixel_HWC[::-1]
    if orientation in (2, 3, 6, 7):
        pixel_HWC = pixel_HWC[:, ::-1]
    return np.ascontiguousarray(pixel_HWC)


def as_channels(pixel_HWC: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Grey to RGB by repetition, RGB to grey by OpenCV's weights (0.299, 0.587, 0.114); otherwise unchanged."""
    assert channels in (1, 3)
    if pixel_HWC.shape[2] == channels:
        return pixel_HWC
    if channels == 3:
        return np.repeat(pixel_HWC, 3, axis=2)
    grey_HW: NDArray[np.uint8] = cv2.cvtColor(pixel_HWC, cv2.COLOR_RGB2GRAY)
    return grey_HW[..., None]
