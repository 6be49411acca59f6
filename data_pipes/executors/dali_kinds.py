"""Encoded images that DALI reads exactly as our own reader does, recognised by their headers.

The kinds listed here were found equal with DALI 2.4. Of the others, some come out rotated, in other colours or
multiplied by alpha, without any error, and some crash the process. DALI is not imported.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator

from PIL import Image

from data_pipes.sources.images import JPEG_MAGIC
from data_pipes.sources.pillow_formats import TIFF_MAGIC

ORIENTATION = 0x0112
SHORT = 3
EXIF = b"Exif\0\0"
ADOBE = b"Adobe"
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
# With any of these chunks, libpng converts colour to grey in linear light.
PNG_TONES = {b"gAMA", b"sRGB", b"iCCP", b"cHRM", b"cICP"}
WEBP_HAS_EXIF = 0x08  # in the flags of an extended file
BMP_KINDS = {(1, 0), (4, 0), (8, 0), (24, 0), (32, 0), (32, 3)}  # bits per pixel, compression
TIFF_COMPRESSIONS = {1, 5, 7, 8, 32773, 32946}  # none, LZW, JPEG, deflate (both numbers), PackBits
# Photometric interpretation, bits of each sample: grey, RGB, palette, CMYK, YCbCr; none with alpha.
TIFF_KINDS = {
    (0, (8,)), (1, (8,)), (1, (16,)), (2, (8, 8, 8)), (2, (16, 16, 16)), (3, (8,)), (5, (8, 8, 8, 8)), (6, (8, 8, 8)),
}  # fmt: skip


def read_alike(data: bytes, *, orientation: int, channels: int) -> bool:
    """Whether DALI reads the same pixels from this intact image as our reader.

    orientation: EXIF orientation in the index, 1 to 8. channels: 1 or 3, as requested.
    """
    if data[:2] == JPEG_MAGIC:
        return _jpeg(data, orientation)
    if data[:8] == PNG_MAGIC:
        return _png(data, orientation, channels)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return orientation == 1 and not (data[12:16] == b"VP8X" and data[20] & WEBP_HAS_EXIF)
    if data[:2] == b"BM":
        return _bmp(data)
    return data[:4] in TIFF_MAGIC and _tiff(data)


def _jpeg(data: bytes, orientation: int) -> bool:
    """Grey and YCbCr. A GPU's decoder reads RGB otherwise; DALI inverts four colours that lack Adobe's marker."""
    exif, components, rgb = b"", 0, False
    for marker, body in _segments(data):
        if marker == 0xE1 and body.startswith(EXIF) and not exif:
            exif = body[len(EXIF) :]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            components, names = body[5], body[6::3]
            rgb |= names == b"RGB"
        if marker == 0xEE and body.startswith(ADOBE):
            rgb |= body[11:12] == b"\0"  # no transform
    return components in (1, 3) and not (rgb and components == 3) and _plain_orientation(exif) == orientation


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The marker and the content of each segment before the first scan."""
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == 0xDA:
            return
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        yield marker, data[at + 4 : at + 2 + length]
        at += 2 + length


def _png(data: bytes, orientation: int, channels: int) -> bool:
    chunks = dict(_chunks(data))
    in_colour = data[25] in (2, 3, 6)
    if channels == 1 and in_colour and PNG_TONES & chunks.keys():
        return False
    return _plain_orientation(chunks.get(b"eXIf", b"")) == orientation


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(PNG_MAGIC)
    while at + 8 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        yield kind, data[at + 8 : at + 8 + length] if kind == b"eXIf" else b""
        at += 12 + length


def _plain_orientation(exif: bytes) -> int | None:
    """The orientation in the form that cameras write: one SHORT in the first directory; 1 if there is none.

    None for any other form, which readers interpret differently. Orientations in other places, such as XMP, are ignored
    here and by DALI.
    """
    if not exif:
        return 1
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start)
        for at in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, values, value = struct.unpack_from(f"{order}HHIH", exif, at)
            if tag == ORIENTATION:
                upright = 1 if value not in range(1, 9) else value
                return upright if (kind, values) == (SHORT, 1) else None
    except struct.error:
        return None
    return 1


def _bmp(data: bytes) -> bool:
    if int.from_bytes(data[14:18], "little") == 12:  # OS/2: no compression
        return (int.from_bytes(data[24:26], "little"), 0) in BMP_KINDS
    bits, compression = struct.unpack_from("<HI", data, 28)
    return (bits, compression) in BMP_KINDS


def _tiff(data: bytes) -> bool:
    """Upright strips of unsigned integers, with interleaved colours and without alpha."""
    with Image.open(io.BytesIO(data), formats=["TIFF"]) as image:
        tags = dict(getattr(image, "tag_v2", {}))
    bits = tags.get(258, (1,))
    return (
        tags.get(259, 1) in TIFF_COMPRESSIONS
        and (tags.get(262), tuple(bits) if isinstance(bits, tuple) else (bits,)) in TIFF_KINDS
        and tags.get(ORIENTATION, 1) == tags.get(284, 1) == tags.get(266, 1) == 1  # 284 planes, 266 order of bits
        and set(tags.get(339, (1,))) == {1}  # the format of samples: unsigned
        and not {322, 324, 338} & tags.keys()  # tiles, alpha
    )
