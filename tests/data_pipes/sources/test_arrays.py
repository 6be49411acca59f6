from __future__ import annotations

import gzip
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from configs.errors import InputError, UsageError
from data_pipes.sources import arrays
from data_pipes.sources.arrays import CIFAR_CLASSES, cifar10, cifar10_1, digits, idx
from toy_sets import idx_bytes, write_cifar, write_idx

rng = np.random.default_rng(0)


def test_digits_fill_the_range():
    content = digits()
    assert content.pixel_NHWC.shape == (1797, 8, 8, 1) and content.pixel_NHWC.dtype == np.uint8
    assert content.label_N.dtype == np.int64 and np.bincount(content.label_N).min() > 170
    levels = np.unique(content.pixel_NHWC)
    assert levels.tolist() == np.rint(np.arange(17) * 255 / 16).astype(int).tolist()


def test_digits_without_sklearn_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(UsageError, match="digits needs scikit-learn: pip install scikit-learn"):
        digits()


# ---- IDX


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("home", ["FashionMNIST/raw", "MNIST/raw", "raw", "."])
def test_idx_reads_every_layout(tmp_path, home, zipped):
    pixel, label = write_idx(tmp_path / home, zipped=zipped)
    for part in ("train", "test"):
        content = idx(tmp_path, part)
        assert (content.pixel_NHWC[..., 0] == pixel).all() and content.pixel_NHWC.shape == (12, 28, 28, 1)
        assert (content.label_N == label).all() and content.label_N.dtype == np.int64
        assert content.classes == tuple("0123456789")  # these labels are nobody's, whatever the folder is called


def test_idx_with_two_data_sets_asks_which(tmp_path):
    write_idx(tmp_path / "MNIST/raw")
    write_idx(tmp_path / "FashionMNIST/raw")
    with pytest.raises(UsageError, match="holds two data sets"):
        idx(tmp_path, "train")
    assert len(idx(tmp_path / "MNIST", "train").label_N) == len(idx(tmp_path / "FashionMNIST", "train").label_N) == 12


@pytest.mark.parametrize("part", ["train", "test"])
def test_fashion_mnist_is_known_by_its_labels_wherever_it_lies(tmp_path, part):
    starts = [np.array([int(digit) for digit in start], np.uint8) for start in arrays.FASHION_STARTS]
    label = np.concatenate([starts[part == "test"], np.arange(10, dtype=np.uint8)])
    write_idx(tmp_path / "fashion", n=len(label))
    prefix = {"train": "train", "test": "t10k"}[part]
    assert idx(tmp_path / "fashion", part).classes == arrays.DIGIT_CLASSES  # the control: other labels, in such a path
    (tmp_path / "fashion" / f"{prefix}-labels-idx1-ubyte").write_bytes(idx_bytes(label))
    (tmp_path / "fashion").rename(tmp_path / "clothes")
    assert idx(tmp_path / "clothes", part).classes == arrays.FASHION_CLASSES


def test_idx_takes_the_names_that_it_is_given(tmp_path):
    write_idx(tmp_path)
    names = tuple("abcdefghijk")
    assert idx(tmp_path, "train", names).classes == names
    with pytest.raises(InputError, match="found labels 0 to 9, expected 0 to 8"):
        idx(tmp_path, "train", names[:9])


IMAGES = "train-images-idx3-ubyte"


@pytest.mark.parametrize(
    ("name", "damage", "expected"),
    [
        (IMAGES, lambda data: data[:-1], r"found \d+ bytes, expected \d+ for 12 x 28 x 28"),
        (IMAGES, lambda data: data + b"x", r"found more than \d+ bytes, expected"),
        (IMAGES, lambda data: b"", "found 0 bytes in all"),
        (IMAGES, lambda data: b"<html>" * 99, "found 0x3c68746d, expected an IDX file that starts with 0x00000803"),
        (IMAGES, lambda data: data[:4] + b"\xff" * 12 + data[16:], "its header asks for .* at most"),
        (IMAGES, lambda data: data[:4] + bytes(12), "expected"),
        ("train-labels-idx1-ubyte", lambda data: data[:-1] + b"\x0a", "found labels 0 to 10, expected 0 to 9"),
        ("train-labels-idx1-ubyte", lambda data: idx_bytes(np.zeros(11, np.uint8)), "12 images, .* 11 labels"),
        ("train-labels-idx1-ubyte", lambda data: idx_bytes(np.zeros((12, 1, 1), np.uint8)), "starts with 0x00000801"),
    ],
)
def test_damaged_idx_is_named(tmp_path, name, damage, expected):
    write_idx(tmp_path)
    idx(tmp_path, "train")
    (tmp_path / name).write_bytes(damage((tmp_path / name).read_bytes()))
    with pytest.raises(InputError, match=expected) as error:
        idx(tmp_path, "train")
    assert name in str(error.value)


@pytest.mark.parametrize("damage", [lambda d: d[: len(d) // 2], lambda d: b"text", lambda d: d[:40] + b"xx" + d[42:]])
def test_damaged_gzip_is_named(tmp_path, damage):
    write_idx(tmp_path, zipped=True)
    file = tmp_path / f"{IMAGES}.gz"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(InputError, match=f"{IMAGES}.gz"):
        idx(tmp_path, "train")


@pytest.mark.parametrize(
    ("read", "looked_for"),
    [
        (lambda root: idx(root, "train"), "FashionMNIST/raw/train-images-idx3-ubyte.gz"),
        (lambda root: cifar10(root, "test"), "cifar-10-batches-py/test_batch"),
        (lambda root: cifar10_1(root, "v4"), "cifar10.1_v4_data.npy"),
    ],
)
def test_a_missing_data_set_says_what_was_looked_for(tmp_path, read, looked_for):
    with pytest.raises(UsageError, match=r"data\.root .* Looked for: ") as error:
        read(tmp_path / "nowhere")
    assert looked_for in str(error.value)


@pytest.mark.data("fashion_mnist")
def test_fashion_mnist(data_root):
    train, test = idx(data_root, "train"), idx(data_root, "test")
    assert train.classes == test.classes == arrays.FASHION_CLASSES
    assert train.pixel_NHWC.shape == (60000, 28, 28, 1) and test.pixel_NHWC.shape == (10000, 28, 28, 1)
    assert np.bincount(train.label_N).tolist() == [6000] * 10 and np.bincount(test.label_N).tolist() == [1000] * 10
    assert train.classes[int(train.label_N[0])] == "Ankle boot"
    assert abs(train.pixel_NHWC.mean() / 255 - 0.2860) < 1e-4  # the mean that everybody normalises by


# ---- CIFAR


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("home", ["cifar-10-batches-py", "."])
def test_cifar10(tmp_path, home, protocol):
    pixel = write_cifar(tmp_path / home, protocol=protocol)
    train, test = cifar10(tmp_path, "train"), cifar10(tmp_path, "test")
    assert train.classes == CIFAR_CLASSES and train.pixel_NHWC.shape == (20, 32, 32, 3)
    assert (train.pixel_NHWC.transpose(0, 3, 1, 2) == pixel[:5].reshape(20, 3, 32, 32)).all()
    assert (test.pixel_NHWC[2, :, :, 1] == pixel[5, 2, 1]).all()
    assert train.label_N[::4].tolist() == [0, 1, 2, 3, 4] and test.label_N.tolist() == [5, 9, 0, 1]


def test_cifar10_as_python_2_wrote_it(tmp_path):
    """The bytes of the official files: protocol 2, byte strings as STRING opcodes, cnumpy.core.multiarray."""
    write_cifar(tmp_path)
    pixels = bytes(range(256)) * 12
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
        b"(K\x01K\x01M\x00\x0c\x86cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        b"T" + struct.pack("<I", len(pixels)) + pixels + b"tb"
    )
    (tmp_path / "test_batch").write_bytes(b"\x80\x02}(U\x04data" + array + b"U\x06labels](K\x07eu.")
    content = cifar10(tmp_path, "test")
    assert content.label_N.tolist() == [7]
    assert (content.pixel_NHWC[0, :, :, 0].ravel() == np.frombuffer(pixels, np.uint8)[:1024]).all()


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["test_batch", "batches.meta"])
def test_a_hostile_pickle_is_refused_and_nothing_runs(tmp_path, name):
    write_cifar(tmp_path)
    content = {**pickle.loads((tmp_path / name).read_bytes()), b"more": Trap(tmp_path / "ran")}
    (tmp_path / name).write_bytes(pickle.dumps(content, 2))
    with pytest.raises(InputError, match=rf"{name}: refused \(it asks for posix.mkdir"):
        cifar10(tmp_path, "test")
    assert not (tmp_path / "ran").exists()
    pickle.loads((tmp_path / name).read_bytes())  # negative control: the plain reader runs it
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "payload",
    [
        b"cos\nsystem\n(S'touch ran'\ntR.",
        b"\x80\x02cbuiltins\neval\nU\x011\x85R.",
        b"\x80\x02cnumpy\nload\nU\x01x\x85R.",
        b"\x80\x02cnumpy\nndarray\n}U\x01aK\x01sb.",
        b"\x80\x02c_codecs\nencode\n(U\x01xU\x05rot13tR.",
        b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05numpy\x8c\x0bdtype.names\x93.",
        b"",
        b"text",
        b"\x80\x02](K\x01e.",
    ],
)
def test_other_pickles_are_refused(tmp_path, payload):
    write_cifar(tmp_path)
    (tmp_path / "test_batch").write_bytes(payload)
    with pytest.raises(InputError, match="test_batch"):
        cifar10(tmp_path, "test")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({b"data": np.zeros((4, 3072), np.float64)}, "not uint8"),
        ({b"data": np.array([Path("x")], object)}, "refused"),
        ({b"data": np.zeros((4, 3000), np.uint8)}, "expected N x 3072"),
        ({b"data": [1, 2]}, "no 'data' as in CIFAR-10"),
        ({b"labels": [0, 1]}, "4 images, .* 2 labels"),
        ({b"labels": [0, 1, 2, 10]}, "labels 0 to 10, expected 0 to 9"),
        ({b"labels": [0, 1, 2, "a"]}, "not integers"),
    ],
)
def test_damaged_cifar_is_named(tmp_path, change, expected):
    write_cifar(tmp_path)
    file = tmp_path / "test_batch"
    file.write_bytes(pickle.dumps({**pickle.loads(file.read_bytes()), **change}, 2))
    with pytest.raises(InputError, match=expected):
        cifar10(tmp_path, "test")


def test_truncated_cifar_is_named(tmp_path):
    write_cifar(tmp_path)
    file = tmp_path / "data_batch_3"
    file.write_bytes(file.read_bytes()[:-100])
    cifar10(tmp_path, "test")
    with pytest.raises(InputError, match="data_batch_3"):
        cifar10(tmp_path, "train")


@pytest.mark.parametrize("version", ["v4", "v6"])
@pytest.mark.parametrize("home", ["datasets", "."])
def test_cifar10_1(tmp_path, version, home):
    (tmp_path / home).mkdir(exist_ok=True)
    pixel = rng.integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    np.save(tmp_path / home / f"cifar10.1_{version}_data.npy", pixel)
    np.save(tmp_path / home / f"cifar10.1_{version}_labels.npy", np.array([0, 9, 1, 2, 3], np.int32))
    content = cifar10_1(tmp_path, version)
    assert (content.pixel_NHWC == pixel).all() and content.classes == CIFAR_CLASSES
    assert content.label_N.tolist() == [0, 9, 1, 2, 3] and content.label_N.dtype == np.int64


@pytest.mark.parametrize(
    ("data", "labels", "expected"),
    [
        (np.zeros((2, 32, 32, 3), np.float32), np.zeros(2, np.int64), "expected uint8 N x 32 x 32 x 3"),
        (np.zeros((2, 3, 32, 32), np.uint8), np.zeros(2, np.int64), "expected uint8 N x 32 x 32 x 3"),
        (np.zeros((2, 32, 32, 3), np.uint8), np.zeros(2), "expected N integers"),
        (np.zeros((2, 32, 32, 3), np.uint8), np.zeros(3, np.int64), "2 images, .* 3 labels"),
        (np.zeros((2, 32, 32, 3), np.uint8), np.array([-1, 0]), "labels -1 to 0"),
        (np.array([{}], object), np.zeros(2, np.int64), "not a plain .npy array"),
    ],
)
def test_damaged_cifar10_1_is_named(tmp_path, data, labels, expected):
    np.save(tmp_path / "cifar10.1_v6_data.npy", data)
    np.save(tmp_path / "cifar10.1_v6_labels.npy", labels)
    with pytest.raises(InputError, match=expected):
        cifar10_1(tmp_path, "v6")


# ---- headers that ask for more than there is


def peak(source: str) -> int:
    """Bytes of memory that a process of its own has used at most, beyond those of its imports."""
    measured = f"""
import resource
from pathlib import Path
from configs.errors import InputError
from data_pipes.sources import arrays
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    {source}
    raise SystemExit("nothing was refused")
except InputError:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", measured], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return 1024 * int(done.stdout)


def test_a_gzip_bomb_is_not_inflated(tmp_path):
    write_idx(tmp_path)
    (tmp_path / IMAGES).unlink()
    header = idx_bytes(np.zeros((12, 28, 28), np.uint8))[:16]
    bomb = gzip.compress(header + bytes(2**28))  # 270 kB
    (tmp_path / f"{IMAGES}.gz").write_bytes(bomb)
    with pytest.raises(InputError, match="found more than 9424 bytes, expected 9424 for 12 x 28 x 28"):
        idx(tmp_path, "train")
    assert peak(f"arrays.idx(Path({str(tmp_path)!r}), 'train')") < 2**26


def test_a_header_of_gigabytes_over_a_small_file_is_refused_before_reading(tmp_path):
    write_idx(tmp_path)
    data = (tmp_path / IMAGES).read_bytes()
    (tmp_path / IMAGES).write_bytes(data[:4] + (2_000_000).to_bytes(4, "big") + data[8:])
    with pytest.raises(InputError, match=r"found 9424 bytes, expected 1568000016 for 2000000 x 28 x 28"):
        idx(tmp_path, "train")


def test_an_npy_header_of_terabytes_is_refused(tmp_path):
    np.save(tmp_path / "cifar10.1_v6_labels.npy", np.zeros(2, np.int64))
    file = tmp_path / "cifar10.1_v6_data.npy"
    np.save(file, np.zeros((10, 32, 32, 3), np.uint8))
    file.write_bytes(file.read_bytes().replace(b"(10, 32, 32, 3), }        ", b"(999999999, 32, 32, 3), } "))
    with pytest.raises(InputError, match=r"not a plain \.npy array"):
        cifar10_1(tmp_path, "v6")


def test_a_sparse_file_of_an_absurd_shape_is_refused(tmp_path):
    np.save(tmp_path / "cifar10.1_v6_labels.npy", np.zeros(2, np.int64))
    sparse = np.lib.format.open_memmap(
        tmp_path / "cifar10.1_v6_data.npy", mode="w+", dtype=np.uint8, shape=(16_000_000, 32, 32, 3)
    )
    del sparse
    with pytest.raises(InputError, match="its header asks for 49,152,000,000 bytes"):
        cifar10_1(tmp_path, "v6")


def test_a_pickle_with_an_endless_memo_is_refused(tmp_path):
    for name in ("batches.meta", *(f"data_batch_{i}" for i in range(1, 6))):
        (tmp_path / name).write_bytes(b"\x80\x02}r\x00\x00\x00\x20.")
    with pytest.raises(InputError, match="a memo larger than the file"):
        cifar10(tmp_path, "train")
