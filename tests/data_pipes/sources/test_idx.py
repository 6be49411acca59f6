"""MNIST and Fashion-MNIST from IDX files: every layout, and damaged, hostile and oversized files."""

from __future__ import annotations

import gzip
import subprocess
import sys

import numpy as np
import pytest

from configs.errors import InputError, UsageError
from data_pipes.sources import idx
from data_pipes.sources.arrays import DIGIT_CLASSES
from data_pipes.sources.idx import FASHION_CLASSES, FASHION_STARTS
from toy_sets import idx_bytes, write_idx

rng = np.random.default_rng(0)
IMAGES = "train-images-idx3-ubyte"


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("home", ["FashionMNIST/raw", "MNIST/raw", "raw", "."])
def test_idx_reads_every_layout(tmp_path, home, zipped):
    pixel, label = write_idx(tmp_path / home, zipped=zipped)
    for part in ("train", "test"):
        content = idx.read(tmp_path, part)
        assert (content.pixel_NHWC[..., 0] == pixel).all() and content.pixel_NHWC.shape == (12, 28, 28, 1)
        assert (content.label_N == label).all() and content.label_N.dtype == np.int64
        assert content.classes == tuple("0123456789")  # these labels are nobody's, whatever the folder is called


def test_idx_with_two_data_sets_asks_which(tmp_path):
    write_idx(tmp_path / "MNIST/raw")
    write_idx(tmp_path / "FashionMNIST/raw")
    with pytest.raises(UsageError, match="holds two data sets"):
        idx.read(tmp_path, "train")
    assert (
        len(idx.read(tmp_path / "MNIST", "train").label_N)
        == len(idx.read(tmp_path / "FashionMNIST", "train").label_N)
        == 12
    )


@pytest.mark.parametrize("part", ["train", "test"])
def test_fashion_mnist_is_known_by_its_labels_wherever_it_lies(tmp_path, part):
    starts = [np.array([int(digit) for digit in start], np.uint8) for start in FASHION_STARTS]
    label = np.concatenate([starts[part == "test"], np.arange(10, dtype=np.uint8)])
    write_idx(tmp_path / "fashion", n=len(label))
    prefix = {"train": "train", "test": "t10k"}[part]
    assert idx.read(tmp_path / "fashion", part).classes == DIGIT_CLASSES  # the control: other labels, in such a path
    (tmp_path / "fashion" / f"{prefix}-labels-idx1-ubyte").write_bytes(idx_bytes(label))
    (tmp_path / "fashion").rename(tmp_path / "clothes")
    assert idx.read(tmp_path / "clothes", part).classes == FASHION_CLASSES


def test_idx_takes_the_names_that_it_is_given(tmp_path):
    write_idx(tmp_path)
    names = tuple("abcdefghijk")
    assert idx.read(tmp_path, "train", names).classes == names
    with pytest.raises(InputError, match="found labels 0 to 9, expected 0 to 8"):
        idx.read(tmp_path, "train", names[:9])


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
    idx.read(tmp_path, "train")
    (tmp_path / name).write_bytes(damage((tmp_path / name).read_bytes()))
    with pytest.raises(InputError, match=expected) as error:
        idx.read(tmp_path, "train")
    assert name in str(error.value)


@pytest.mark.parametrize("damage", [lambda d: d[: len(d) // 2], lambda d: b"text", lambda d: d[:40] + b"xx" + d[42:]])
def test_damaged_gzip_is_named(tmp_path, damage):
    write_idx(tmp_path, zipped=True)
    file = tmp_path / f"{IMAGES}.gz"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(InputError, match=f"{IMAGES}.gz"):
        idx.read(tmp_path, "train")


@pytest.mark.data("fashion_mnist")
def test_fashion_mnist(data_root):
    train, test = idx.read(data_root, "train"), idx.read(data_root, "test")
    assert train.classes == test.classes == FASHION_CLASSES
    assert train.pixel_NHWC.shape == (60000, 28, 28, 1) and test.pixel_NHWC.shape == (10000, 28, 28, 1)
    assert np.bincount(train.label_N).tolist() == [6000] * 10 and np.bincount(test.label_N).tolist() == [1000] * 10
    assert train.classes[int(train.label_N[0])] == "Ankle boot"
    assert abs(train.pixel_NHWC.mean() / 255 - 0.2860) < 1e-4  # the mean that everybody normalises by


# ---- headers that ask for more than there is


def peak(source: str) -> int:
    """Bytes of memory that a process of its own has used at most, beyond those of its imports."""
    measured = f"""
import resource
from pathlib import Path
from configs.errors import InputError
from data_pipes.sources import idx
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
        idx.read(tmp_path, "train")
    assert peak(f"idx.read(Path({str(tmp_path)!r}), 'train')") < 2**26


def test_a_header_of_gigabytes_over_a_small_file_is_refused_before_reading(tmp_path):
    write_idx(tmp_path)
    data = (tmp_path / IMAGES).read_bytes()
    (tmp_path / IMAGES).write_bytes(data[:4] + (2_000_000).to_bytes(4, "big") + data[8:])
    with pytest.raises(InputError, match=r"found 9424 bytes, expected 1568000016 for 2000000 x 28 x 28"):
        idx.read(tmp_path, "train")
