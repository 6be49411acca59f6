"""The examination of one image file: whether it is an image that can be read whole, and what the index notes of it."""

from __future__ import annotations

import errno
import io
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageFile, UnidentifiedImageError

from configs.files import read_regular
from data_pipes.sources import jpeg_data, pillow_formats
from data_pipes.sources.images import decode
from data_pipes.sources.index_files import UNREADABLE, Entry

LARGEST_FILE = 2**30  # bytes; the largest image, in 16 bits and without compression, has about as many
PIXEL_LIMIT = 178_956_970  # images of more pixels are bad; Pillow, too, refuses them by default
BY_OPENCV = ("JPEG", "PNG", "WEBP", "BMP")
MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "I;16", "I;16L", "I;16B"}
PNG_END = b"IEND\xaeB`\x82"
ORIENTATION_TAG = 0x0112


def formats() -> tuple[str, ...]:
    """The accepted formats, by Pillow's names."""
    return (*BY_OPENCV, *pillow_formats.available())


@contextmanager
def strict_pillow() -> Iterator[None]:
    """Pillow's process-wide settings for a pass over files, restored afterwards. One thread enters it for all."""
    lenient = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # If a program turned it on, half a JPEG would be good.
    Image.init()  # Registers formats, which would otherwise happen in several threads at once.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # One for every unusual EXIF tag.
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = lenient


def examine(path: Path) -> Entry:
    """Index entry of a file. It never raises an error for a bad file."""
    try:
        data = read_regular(path, LARGEST_FILE)
    except OSError as error:
        if error.errno in (errno.EFBIG, errno.EINVAL):
            return Entry(reason=str(error.strerror))
        return Entry(reason=f"{UNREADABLE}: {error.strerror}")
    entry = Entry(bytes=len(data), crc=zlib.crc32(data))
    try:
        width, height, orientation = _inspect(data)
    except UnidentifiedImageError:
        return entry._replace(reason=_foreign(data))
    # Pillow's parsers raise nearly any error for malformed bytes; each means one bad file.
    except Exception as error:
        return entry._replace(reason=str(error) or type(error).__name__)
    return entry._replace(height=height, width=width, orientation=orientation)


def _inspect(data: bytes) -> tuple[int, int, int]:
    """Upright width and height and the EXIF orientation of a good image; any error means a bad one."""
    with Image.open(io.BytesIO(data), formats=formats()) as image:
        if image.width * image.height > PIXEL_LIMIT:
            raise ValueError(f"{image.width} x {image.height} pixels; the limit is {PIXEL_LIMIT} in all")
        jpeg = image.format in ("JPEG", "MPO")
        size = image.size
        if jpeg:
            jpeg_data.reduce(image)
        image.load()
        if jpeg and jpeg_data.ends_early(data, image):
            raise ValueError("image file is truncated (its data end before its last pixels, in spite of an end marker)")
        if not jpeg:
            size = image.size  # Pillow orients a TIFF while loading it.
            _check_whole(image, data)
        orientation = orientation_of(image)
    return (size[1], size[0], orientation) if orientation >= 5 else (*size, orientation)


def _check_whole(image: Image.Image, data: bytes) -> None:
    """Raise ValueError for images that Pillow accepts and the reader does not."""
    if image.format == "PNG" and PNG_END not in data:
        raise ValueError("image file is truncated (no PNG end marker)")
    by_opencv = image.format in BY_OPENCV
    if not by_opencv and image.mode not in MODES:
        raise ValueError(f"pixels of kind {image.mode!r}; save it with 8 or 16 bits a channel")
    if by_opencv and decode(data) is None:
        raise ValueError(f"OpenCV cannot decode this {image.format}; save it anew")


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation of a loaded image, 1 to 8. Pillow has turned a TIFF while loading it, which is then 1."""
    try:
        value = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # Damaged metadata with intact pixels: viewers ignore the orientation.
        return 1
    return value if value in range(1, 9) else 1


def _foreign(data: bytes) -> str:
    """Why a file of none of the allowed formats is bad."""
    if not data:
        return "empty file"
    found = pillow_formats.kind_of(data)
    if found and found not in formats():
        return f"{pillow_formats.LACKING[found]}, or save it as one of {', '.join(formats())}"
    if found:
        return f"damaged {found}"
    name = "a video or a picture of another kind" if data[4:8] == b"ftyp" else "not an image"
    return f"{name} (starts with {data[:8]!r}); allowed are {', '.join(formats())}"
