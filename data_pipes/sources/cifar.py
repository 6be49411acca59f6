"""CIFAR-10 in Python's pickles, which are read without executing them, and CIFAR-10.1 in .npy files.

Shape suffixes: N images, H height, W width, C channels, D values of an image.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from configs.errors import InputError
from configs.files import read_regular
from data_pipes.sources.arrays import ArraySet, Part, checked, find, require_room

CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR_FOLDERS = ("cifar-10-batches-py", ".")
LARGEST_PICKLE = 2**28  # bytes


def cifar10(root: Path, part: Part) -> ArraySet:
    """CIFAR-10 from its python pickles, in `root`/cifar-10-batches-py or in `root` (https://www.cs.toronto.edu/~kriz)."""
    files, classes = cifar10_files(root, part), cifar10_classes(root)
    batches = [_read_batch(file, classes) for file in files]
    return ArraySet(
        np.concatenate([batch.pixel_NHWC for batch in batches]),
        np.concatenate([batch.label_N for batch in batches]),
        classes,
    )


def cifar10_files(root: Path, part: Part) -> list[Path]:
    """The files of images and labels. UsageError: one is missing."""
    names = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}[part]
    return [find(root, CIFAR_FOLDERS, (name,)) for name in names]


def cifar10_meta(root: Path) -> Path:
    """The file of the class names. UsageError: it is missing."""
    return find(root, CIFAR_FOLDERS, ("batches.meta",))


def cifar10_classes(root: Path) -> tuple[str, ...]:
    """The classes of CIFAR-10, from the file of their names alone."""
    meta_file = cifar10_meta(root)
    label_names = _entry(_unpickle(meta_file), b"label_names", list, meta_file)
    return tuple(_text(name, meta_file) for name in label_names)


def _read_batch(file: Path, classes: tuple[str, ...]) -> ArraySet:
    content = _unpickle(file)
    pixel_ND = _entry(content, b"data", _Array, file).array
    labels = _entry(content, b"labels", list, file)
    if pixel_ND.ndim != 2 or pixel_ND.shape[1] != 3072:
        raise InputError(f"{file}: found images of shape {pixel_ND.shape}, expected N x 3072")
    if not all(type(label) is int for label in labels):
        raise InputError(f"{file}: found labels that are not integers")
    pixel_NHWC = pixel_ND.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return checked(pixel_NHWC, np.array(labels), classes, file, file)


def cifar10_1(root: Path, version: Literal["v4", "v6"]) -> ArraySet:
    """CIFAR-10.1, a test set only (Recht et al. 2018), from `root` or `root`/datasets."""
    image_file, label_file = cifar10_1_files(root, version)
    pixel_NHWC, label_N = _read_npy(image_file), _read_npy(label_file)
    if pixel_NHWC.dtype != np.uint8 or pixel_NHWC.shape[1:] != (32, 32, 3):
        raise InputError(f"{image_file}: found {pixel_NHWC.dtype} {pixel_NHWC.shape}, expected uint8 N x 32 x 32 x 3")
    if label_N.dtype.kind not in "iu" or label_N.ndim != 1:
        raise InputError(f"{label_file}: found {label_N.dtype} {label_N.shape}, expected N integers")
    return checked(pixel_NHWC, label_N, CIFAR_CLASSES, image_file, label_file)


def cifar10_1_files(root: Path, version: Literal["v4", "v6"]) -> tuple[Path, Path]:
    """The files of images and of labels. UsageError: one is missing."""
    names = (f"cifar10.1_{version}_data.npy", f"cifar10.1_{version}_labels.npy")
    images, labels = (find(root, (".", "datasets"), (name,)) for name in names)
    return images, labels


def _read_npy(file: Path) -> NDArray[Any]:
    try:
        # Mapped: the header alone must not decide how much memory is reserved.
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{file}: damaged, or not a plain .npy array ({error})") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{file}: found an archive of arrays, expected one .npy array")
    require_room(file, array.nbytes, array.shape, ratio=1)
    return np.array(array)


# ---- pickles, read without executing them


class _Dtype:
    """Stands in for numpy.dtype and only keeps its name."""

    def __init__(self, name: Any = None, *_: Any) -> None:
        self.name = name

    def __setstate__(self, state: Any) -> None:
        """Ignore byte order and alignment: only bytes are accepted."""


class _Array:
    """Stands in for numpy.ndarray, which would trust the sizes and types in a pickle."""

    array: NDArray[np.uint8]

    def __init__(self, *_: Any) -> None:
        self.array = np.empty(0, np.uint8)

    def __setstate__(self, state: Any) -> None:
        _version, shape, dtype, fortran, data = state
        if not isinstance(dtype, _Dtype) or dtype.name not in ("u1", b"u1") or not isinstance(data, bytes):
            raise pickle.UnpicklingError("an array that is not uint8")
        self.array = np.frombuffer(data, np.uint8).reshape(shape, order="F" if fortran else "C")


def _latin1(text: str, encoding: str) -> bytes:
    """Stands in for _codecs.encode, with which Python 3 writes bytes into pickles of old protocols."""
    return text.encode("latin-1")


_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("_codecs", "encode"): _latin1,
}


class _Unpickler(pickle.Unpickler):
    """Unpickler that knows the stand-ins only: any other name is refused before it is imported."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which CIFAR-10 does not need")
        return _STAND_INS[module, name]


def _require_small_memo(data: bytes) -> None:
    """UnpicklingError for an index at which the memo would fill the memory."""
    puts = (argument for op, argument, _ in pickletools.genops(data) if op.name.endswith("PUT"))
    if max((number for number in puts if isinstance(number, int)), default=0) > len(data):
        raise pickle.UnpicklingError("a memo larger than the file")


def _unpickle(file: Path) -> dict[Any, Any]:
    """The dictionary in a pickle of CIFAR-10; keys and strings as bytes."""
    try:
        data = read_regular(file, LARGEST_PICKLE)
        _require_small_memo(data)
        content = _Unpickler(io.BytesIO(data), encoding="bytes").load()
    # A damaged pickle may raise nearly any error.
    except Exception as error:
        raise InputError(f"{file}: refused ({error}); expected a python batch of CIFAR-10") from error
    if not isinstance(content, dict):
        raise InputError(f"{file}: found a {type(content).__name__}, expected the dictionary of a CIFAR-10 batch")
    return content


def _entry(content: dict[Any, Any], key: bytes, kind: type[Any], file: Path) -> Any:
    value = content.get(key, content.get(key.decode()))
    if not isinstance(value, kind):
        raise InputError(f"{file}: no {key.decode()!r} as in CIFAR-10; found the keys {sorted(map(str, content))}")
    return value


def _text(value: Any, file: Path) -> str:
    if not isinstance(value, bytes | str):
        raise InputError(f"{file}: found a class name of type {type(value).__name__}")
    return value.decode() if isinstance(value, bytes) else value
