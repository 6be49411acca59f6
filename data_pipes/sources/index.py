"""The index of image files: one pass that finds bad files before a run starts, stored in the cache.

Shape suffixes: N files; size_N2 holds height and width.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import logging
import os
import stat
import warnings
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from configs import resources, stopping
from configs.errors import InputError
from configs.files import read_regular, remove_abandoned, write_atomically
from configs.heartbeat import Heartbeat
from configs.home import cache_folder
from data_pipes.sources import jpeg_data, pillow_formats
from data_pipes.sources.image_files import warn_once
from data_pipes.sources.images import FileImages, decode

logger = logging.getLogger(__name__)

# Part of the cache's key: increase it whenever the stored content or the criteria for bad files change.
FORMAT = 3
LARGEST_FILE = 2**30  # bytes; the largest image, in 16 bits and without compression, has about as many
PIXEL_LIMIT = 178_956_970  # images of more pixels are bad; Pillow, too, refuses them by default
BY_OPENCV = ("JPEG", "PNG", "WEBP", "BMP")
MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "I;16", "I;16L", "I;16B"}
PNG_END = b"IEND\xaeB`\x82"
UNREADABLE = "cannot be read"
ORIENTATION_TAG = 0x0112


class Entry(NamedTuple):
    """Index entry of a file; a good file has no reason."""

    bytes: int = 0
    crc: int = 0
    height: int = 0
    width: int = 0
    orientation: int = 1
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Index:
    """Index entries of N files."""

    root: Path
    path_N: tuple[str, ...]
    byte_N: NDArray[np.int64]
    crc_N: NDArray[np.uint32]
    size_N2: NDArray[np.int32]
    """Height and width of the upright image; 0 for bad files."""
    orientation_N: NDArray[np.uint8]
    """EXIF orientation, 1 to 8."""
    reason_N: NDArray[np.str_]
    """Why a file is bad; empty for good ones."""

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Which of the N files are good."""
        return np.asarray(self.reason_N == "")

    def images(self) -> FileImages:
        """The files as a store of images, including bad ones so that rows keep their numbers."""
        return FileImages(self.root, self.path_N, self.byte_N, self.crc_N, self.orientation_N)


def formats() -> tuple[str, ...]:
    """The accepted formats, by Pillow's names."""
    return (*BY_OPENCV, *pillow_formats.available())


def scan(root: Path, paths: Sequence[str], threads: int = 0) -> Index:
    """Check every file (`paths` are relative to `root`) by decoding it, or read the result from the cache.

    A single file is not worth a place in the cache. threads: 0 is this process's share of the cores. Raises InputError
    for a path that is absolute or contains `..`, and StoppedError if a stop is requested.
    """
    for path in paths:
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise InputError(f"{path!r} does not lie below {root}; paths are relative and without '..'")
    root = root.resolve()
    file = cache_folder() / f"index-{_cache_key(root, paths)}.npz"
    index = _read_cache(file, root, paths)
    if index is None:
        with strict_pillow():
            index = table(root, paths, list(_examine_all(root, paths, threads)))
        # A file that could not be opened may be readable next time, with unchanged size and time.
        if len(paths) > 1 and not any(reason.startswith(UNREADABLE) for reason in index.reason_N):
            _write_cache(file, index)
    return index


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


def _examine_all(root: Path, paths: Sequence[str], threads: int) -> Iterator[Entry]:
    heartbeat = Heartbeat(logger, f"{root}: checked", len(paths))
    with ThreadPoolExecutor(threads or resources.thread_share()) as pool:
        for done, entry in enumerate(pool.map(lambda path: examine(root / path), paths)):
            if stopping.requested():
                pool.shutdown(cancel_futures=True)
                stopping.heed()
            heartbeat.beat(done)
            yield entry


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


def table(root: Path, paths: Sequence[str], entries: list[Entry]) -> Index:
    """The index of these files, from an entry of each."""
    return Index(
        root=root,
        path_N=tuple(paths),
        byte_N=np.array([e.bytes for e in entries], np.int64),
        crc_N=np.array([e.crc for e in entries], np.uint32),
        size_N2=np.array([(e.height, e.width) for e in entries], np.int32).reshape(-1, 2),
        orientation_N=np.array([e.orientation for e in entries], np.uint8),
        reason_N=np.array([e.reason for e in entries], np.str_),
    )


def _cache_key(root: Path, paths: Sequence[str]) -> str:
    """Hash of the files' paths, sizes and times, so that a changed data set misses the cache."""
    folders = {path.rpartition("/")[0] for path in paths}
    # Includes the targets of links: a new target may have the size and time of the old one.
    real = {folder: os.path.realpath(root / folder) for folder in sorted(folders)}
    states = [(path, *_state(root / path)) for path in paths]
    return hashlib.sha256(json.dumps([FORMAT, formats(), PIXEL_LIMIT, str(root), real, states]).encode()).hexdigest()[
        :32
    ]


def _state(path: Path) -> tuple[int, int, str]:
    """Size and time of a file, and its real path if `path` is a link; -1 if it is missing."""
    try:
        state, target = path.lstat(), ""
        if stat.S_ISLNK(state.st_mode):
            state, target = path.stat(), os.path.realpath(path)
    except OSError:
        return -1, -1, ""
    return state.st_size, state.st_mtime_ns, target


COLUMNS = {"byte_N": "int64", "crc_N": "uint32", "size_N2": "int32", "orientation_N": "uint8", "reason_N": "str"}


def _read_cache(file: Path, root: Path, paths: Sequence[str]) -> Index | None:
    """The stored index; None if there is none or it is damaged."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            columns = {name: stored[name] for name in COLUMNS}
    except FileNotFoundError:
        return None
    except Exception as error:  # a damaged archive may raise nearly any error
        logger.warning("%s is damaged (%s); the index is built anew", file, error)
        return None
    for name, kind in COLUMNS.items():
        if len(columns[name]) != len(paths) or not columns[name].dtype.name.startswith(kind):
            logger.warning("%s is damaged (column %s); the index is built anew", file, name)
            return None
    return Index(root=root, path_N=tuple(paths), **columns)


def _write_cache(file: Path, index: Index) -> None:
    """Write atomically, so that two processes at once leave a whole file."""
    try:
        content = io.BytesIO()
        np.savez_compressed(content, **{name: getattr(index, name) for name in COLUMNS})
        write_atomically(file, content.getvalue())
        remove_abandoned(file.parent)
    except OSError as error:
        warn_once(f"the index cannot be kept in {file.parent} ({error}); the files are checked again next time")
