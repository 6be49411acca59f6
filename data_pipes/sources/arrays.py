"""Readers of data sets that are one array of small images: digits, IDX, CIFAR-10, CIFAR-10.1.

Shape suffixes: N images, H height, W width, C channels.
"""

from __future__ import annotations

import gzip
import io
import math
import pickle
import pickletools
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from configs.errors import InputError, UsageError
from configs.files import read_regular

Part = Literal["train", "test"]

DIGIT_CLASSES = tuple("0123456789")
FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
FASHION_STARTS = (
    "9003027255095579106431484302445366085216679592730333722668335055",
    "9211614657457341248025791460938833807579613767212244582284807785",
)
"""The first labels of train and test, which tell Fashion-MNIST from MNIST: their files have the same names."""
CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR_FOLDERS = ("cifar-10-batches-py", ".")


LARGEST = 2**33  # bytes of a data set in memory
LARGEST_PICKLE = 2**28
DEFLATE = 1032  # times that deflate makes data smaller, at most
SLACK = 64


class ArraySet(NamedTuple):
    """A data set in memory."""

    pixel_NHWC: NDArray[np.uint8]
    label_N: NDArray[np.int64]
    classes: tuple[str, ...]


def digits() -> ArraySet:
    """scikit-learn's 1,797 digits of 8x8 pixels, their 17 levels stretched to 0..255."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UsageError("data.source: digits needs scikit-learn: pip install scikit-learn") from error
    bunch = load_digits()
    pixel_NHW = np.rint(np.asarray(bunch.images) * (255 / 16)).astype(np.uint8)
    return ArraySet(pixel_NHW[..., None], np.asarray(bunch.target, np.int64), DIGIT_CLASSES)


def idx(root: Path, part: Part, classes: tuple[str, ...] | None = None) -> ArraySet:
    """MNIST or Fashion-MNIST from IDX files, plain or gzipped (http://yann.lecun.com/exdb/mnist).

    The files are in torchvision's folders (FashionMNIST/raw, MNIST/raw), in `root` or in `root`/raw.
    classes: names for all labels; None: Fashion-MNIST's if its labels are found, otherwise 0 to 9.
    """
    image_file, label_file = _idx_files(root, part)
    pixel_NHW = _read_idx(image_file, dimensions=3)
    label_N = _read_idx(label_file, dimensions=1)
    return _checked(pixel_NHW[..., None], label_N, classes or _idx_classes(label_N), image_file, label_file)


def idx_classes(root: Path) -> tuple[str, ...]:
    """The classes of MNIST or Fashion-MNIST from the training labels alone."""
    label_file = _idx_files(root, "train")[1]
    return _idx_classes(_read_idx(label_file, dimensions=1))


def _idx_files(root: Path, part: Part) -> tuple[Path, Path]:
    """The files of images and of labels. UsageError: there are none, or those of two data sets."""
    prefix = {"train": "train", "test": "t10k"}[part]
    names = [f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"]
    present = [folder for folder in ("FashionMNIST/raw", "MNIST/raw") if (root / folder).is_dir()]
    if len(present) > 1:
        raise UsageError(f"data.root {root} holds two data sets; choose {root / 'FashionMNIST'} or {root / 'MNIST'}")
    folders = ("FashionMNIST/raw", "MNIST/raw", "raw", ".")
    image_file, label_file = (_find(root, folders, (name, f"{name}.gz")) for name in names)
    return image_file, label_file


def _idx_classes(label_N: NDArray[np.uint8]) -> tuple[str, ...]:
    start = "".join(map(str, label_N[: len(FASHION_STARTS[0])]))
    return FASHION_CLASSES if start in FASHION_STARTS else DIGIT_CLASSES


def _read_idx(file: Path, dimensions: int) -> NDArray[np.uint8]:
    zipped = file.suffix == ".gz"
    try:
        with gzip.open(file) if zipped else file.open("rb") as stream:
            head = stream.read(4 * (1 + dimensions))
            shape = _idx_shape(file, head, dimensions)
            count = math.prod(shape)
            _require_room(file, len(head) + count, shape, ratio=DEFLATE if zipped else 1)
            data = stream.read(count + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{file}: damaged gzip file ({error}); download it again") from error
    if len(data) != count or count == 0:
        found = f"found {'more than ' * (len(data) > count)}{len(head) + min(len(data), count)} bytes"
        raise InputError(f"{file}: {found}, expected {len(head) + count} for {' x '.join(map(str, shape))}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _idx_shape(file: Path, head: bytes, dimensions: int) -> tuple[int, ...]:
    """The shape in the header of an IDX file of unsigned bytes."""
    magic = 0x0800 + dimensions
    whole = len(head) == 4 * (1 + dimensions)
    if not whole or (found := struct.unpack(">I", head[:4])[0]) != magic:
        start = f"{found:#010x}" if whole else f"{len(head)} bytes in all"
        raise InputError(f"{file}: found {start}, expected an IDX file that starts with {magic:#010x}")
    return struct.unpack(f">{dimensions}I", head[4:])


def _require_room(file: Path, length: int, shape: tuple[int, ...], *, ratio: int = 1) -> None:
    """InputError, before anything is read, for more bytes than the file can hold (`ratio` times its own) or memory."""
    size, text = file.stat().st_size, " x ".join(map(str, shape))
    if length > LARGEST:
        raise InputError(f"{file}: its header asks for {length:,} bytes ({text}); at most {LARGEST:,} are read")
    if length > ratio * size + SLACK:
        raise InputError(f"{file}: found {size} bytes, expected {length} for {text}")


def cifar10(root: Path, part: Part) -> ArraySet:
    """CIFAR-10 from its python pickles, in `root`/cifar-10-batches-py or in `root` (https://www.cs.toronto.edu/~kriz)."""
    names = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}[part]
    files = [_find(root, CIFAR_FOLDERS, (name,)) for name in names]
    classes = cifar10_classes(root)
    batches = [_read_batch(file, classes) for file in files]
    return ArraySet(
        np.concatenate([batch.pixel_NHWC for batch in batches]),
        np.concatenate([batch.label_N for batch in batches]),
        classes,
    )


def cifar10_classes(root: Path) -> tuple[str, ...]:
    """The classes of CIFAR-10, from the file of their names alone."""
    meta_file = _find(root, CIFAR_FOLDERS, ("batches.meta",))
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
    return _checked(pixel_NHWC, np.array(labels), classes, file, file)


def cifar10_1(root: Path, version: Literal["v4", "v6"]) -> ArraySet:
    """CIFAR-10.1, a test set only (Recht et al. 2018), from `root` or `root`/datasets."""
    image_file, label_file = (
        _find(root, (".", "datasets"), (f"cifar10.1_{version}_{kind}.npy",)) for kind in ("data", "labels")
    )
    pixel_NHWC, label_N = _read_npy(image_file), _read_npy(label_file)
    if pixel_NHWC.dtype != np.uint8 or pixel_NHWC.shape[1:] != (32, 32, 3):
        raise InputError(f"{image_file}: found {pixel_NHWC.dtype} {pixel_NHWC.shape}, expected uint8 N x 32 x 32 x 3")
    if label_N.dtype.kind not in "iu" or label_N.ndim != 1:
        raise InputError(f"{label_file}: found {label_N.dtype} {label_N.shape}, expected N integers")
    return _checked(pixel_NHWC, label_N, CIFAR_CLASSES, image_file, label_file)


def _read_npy(file: Path) -> NDArray[Any]:
    try:
        # Mapped: the header alone must not decide how much memory is reserved.
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{file}: damaged, or not a plain .npy array ({error})") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{file}: found an archive of arrays, expected one .npy array")
    _require_room(file, array.nbytes, array.shape, ratio=1)
    return np.array(array)


def _find(root: Path, folders: Sequence[str], names: Sequence[str]) -> Path:
    """The first of the files that exists. UsageError: none does."""
    candidates = [root / folder / name for folder in folders for name in names]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    looked = "; ".join(map(str, candidates))
    raise UsageError(f"data.root {root} does not hold the data set (archives must be unpacked). Looked for: {looked}")


def _checked(
    pixel_NHWC: NDArray[np.uint8], label_N: NDArray[Any], classes: tuple[str, ...], image_file: Path, label_file: Path
) -> ArraySet:
    """The data set. InputError: images and labels do not match."""
    if len(pixel_NHWC) != len(label_N):
        raise InputError(f"{image_file} has {len(pixel_NHWC)} images, {label_file} has {len(label_N)} labels")
    if len(label_N) == 0:
        raise InputError(f"{image_file}: found no image")
    low, high = int(label_N.min()), int(label_N.max())
    if low < 0 or high >= len(classes):
        raise InputError(f"{label_file}: found labels {low} to {high}, expected 0 to {len(classes) - 1}")
    return ArraySet(np.ascontiguousarray(pixel_NHWC), label_N.astype(np.int64), classes)


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
