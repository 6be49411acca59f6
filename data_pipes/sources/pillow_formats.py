"""Formats that OpenCV cannot read, or not correctly, and Pillow can: TIFF, GIF, AVIF and, with a plug-in, HEIC."""

from __future__ import annotations

import functools
import importlib
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
GIF_MAGIC = b"GIF8"
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
AVIF_BRANDS = {b"avif", b"avis"}
LACKING = {
    "HEIF": "HEIC, for which Pillow needs a plug-in: pip install pillow-heif",
    "AVIF": "AVIF, which this Pillow does not read: pip install 'pillow>=11.3'",
}
BITS_TAG, PHOTOMETRIC_TAG = 258, 262
WHITE_IS_ZERO = 0


def kind_of(data: bytes) -> str | None:
    """TIFF, GIF, AVIF or HEIF, Pillow's names, by the first bytes; None for any other file."""
    if data[:4] in TIFF_MAGIC:
        return "TIFF"
    if data[:4] == GIF_MAGIC:
        return "GIF"
    if data[4:8] != b"ftyp":
        return None
    length = min(int.from_bytes(data[:4], "big"), 256)
    brands = {data[8:12], *(data[at : at + 4] for at in range(16, length, 4))}
    return "AVIF" if brands & AVIF_BRANDS else "HEIF" if brands & HEIC_BRANDS else None


@functools.cache
def available() -> tuple[str, ...]:
    """Those of the four formats that can be read here. Registers the plug-in for HEIC if it is installed."""
    found = ["TIFF", "GIF"]
    if features.check("avif"):
        found.append("AVIF")
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError:
        return tuple(found)
    return (*found, "HEIF")


def decode(data: bytes, kind: str) -> NDArray[np.uint8] | None:
    """RGB pixels of the first frame, HxWx3, without alpha; None: undecodable.

    TIFF is upright. The others are returned as Pillow loads them, to be oriented by their EXIF orientation.
    """
    if kind not in available():
        return None
    try:
        with Image.open(io.BytesIO(data), formats=[kind]) as image:
            image.load()
            return grey_of_16_bits(image) if image.mode.startswith("I;16") else np.array(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, EOFError, RuntimeError, Image.DecompressionBombError):
        return None


def grey_of_16_bits(image: Image.Image) -> NDArray[np.uint8]:
    """The high byte of 12 or 16 bits of grey. Pillow leaves the inversion of white-is-zero images to the caller."""
    tags = getattr(image, "tag_v2", {})
    high_HW = (np.asarray(image) >> (tags.get(BITS_TAG, (16,))[0] - 8)).astype(np.uint8)
    if tags.get(PHOTOMETRIC_TAG) == WHITE_IS_ZERO:
        high_HW = 255 - high_HW
    return np.repeat(high_HW[..., None], 3, axis=2)
