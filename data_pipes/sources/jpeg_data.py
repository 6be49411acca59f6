"""Whether the data of a JPEG file reach its last pixel. Pillow and OpenCV fill what is missing with grey, silently.

The decoder never uses what follows the data of the last pixel. So bytes are put in there: where they change pixels, the
data ended too early.
"""

from __future__ import annotations

import io
import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""Within entropy-coded data, 0xff is followed by 0, or belongs to a restart marker."""
EOI, SOS, PROGRESSIVE = 0xD9, 0xDA, 0xC2
HUFFMAN = (0xC0, 0xC1, PROGRESSIVE)
OTHER_FRAMES = frozenset(range(0xC3, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Lossless and arithmetic coding, whose data may end early."""
NOISE = bytes((37 * place + 91) % 251 for place in range(128))
FILLER = NOISE + b"".join(bytes((0xFF, 0xD0 + number)) + NOISE for number in range(8))
"""Noise, also after each restart marker."""
NEAR_GREY = 6  # levels from the grey of pixels that were not there


class Scans(NamedTuple):
    """What the markers of a file say."""

    end: int
    """Where the entropy-coded data of the last scan end."""
    single: bool
    """Whether one scan has all of the data: its missing pixels are grey."""


def reduce(image: Image.Image) -> None:
    """Let an opened JPEG be decoded at an eighth of its size: all of its data are read, and few pixels computed."""
    image.draft(None, (max(1, image.width // 8), max(1, image.height // 8)))


def ends_early(data: bytes, shown: Image.Image) -> bool:
    """Whether a JPEG file lacks data of its pixels; False for rare kinds of files, which are not judged.

    A file of one scan is decoded again only if its last pixel is grey, as in one photograph of 300; a progressive one,
    which an eighth of the size does not show, twice.

    shown: the loaded image, after `reduce`.
    """
    scans = _scans(data)
    if scans is None or (scans.single and not _grey_at_end(shown)):
        return False
    first = np.asarray(shown) if scans.single else _pixels(data, whole=True)
    filled = data[: scans.end] + FILLER + data[scans.end :]
    return not np.array_equal(first, _pixels(filled, whole=not scans.single))


def _pixels(data: bytes, *, whole: bool) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        if not whole:
            reduce(image)
        return np.asarray(image)


def _grey_at_end(shown: Image.Image) -> bool:
    last = shown.getpixel((shown.width - 1, shown.height - 1))
    return all(abs(level - 128) <= NEAR_GREY for level in np.atleast_1d(np.asarray(last)).tolist())


def _scans(data: bytes) -> Scans | None:
    """Follow the markers to the end; None for files that are not judged."""
    place, end, count, frame = 2, 0, 0, 0
    while found := MARKER.search(data, place):
        place, marker = found.start(), data[found.start() + 1]
        if count:
            end = end or place
        if marker == EOI:
            known = frame in HUFFMAN and count > 0
            return Scans(_without_fill(data, end), count == 1 and frame != PROGRESSIVE) if known else None
        if marker in OTHER_FRAMES:
            return None
        frame = marker if marker in HUFFMAN else frame
        place += 2 + int.from_bytes(data[place + 2 : place + 4])
        if marker == SOS:
            count, end = count + 1, 0
    return None


def _without_fill(data: bytes, end: int) -> int:
    """`end`, before any 0xff that fills up to a marker."""
    while data[end - 1] == 0xFF:
        end -= 1
    return end
