"""CIFAR-10 and CIFAR-10.1: every layout, and damaged, hostile and oversized files."""

from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from configs.errors import InputError
from data_pipes.sources.cifar import CIFAR_CLASSES, cifar10, cifar10_1
from toy_sets import write_cifar

rng = np.random.default_rng(0)


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
