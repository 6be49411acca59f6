"""Writing canvases: what is left after a failure, and when a disk is full. N images, H x W pixels, C channels."""

import errno
import multiprocessing
import os
import resource
import shutil
import signal
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from data_pipes.executors import canvas_file, canvas_writer
from data_pipes.executors.canvas_file import CanvasFile
from data_pipes.executors.canvas_writer import Writer

SHAPE = (40, 9, 11, 3)
ORIGIN = {"samples": "ab12", "decoder": "a decoder"}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(canvas_file, "BLOCK_ROWS", 7)


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)


def write(file: CanvasFile, pixels: np.ndarray) -> bool:
    with file.lock() as alone, Writer(file, alone=alone) as writer:
        for rows in file.blocks:
            writer.append(pixels[rows])
        assert writer.keep({"split": "train"}) is not writer.failed
        return not writer.failed


def names(folder: Path) -> list[str]:
    return sorted(path.suffix for path in folder.iterdir())


def test_what_a_dead_writer_left_is_removed_by_the_next(tmp_path, pixels):
    file = CanvasFile(tmp_path, SHAPE, ORIGIN)
    left = [tmp_path / f".{file.pixels.name}.0123.partial", tmp_path / f".{file.manifest.name}.0123.partial"]
    foreign = tmp_path / f".{CanvasFile(tmp_path, SHAPE, {}).pixels.name}.0123.partial"
    for path in (*left, foreign):
        path.write_bytes(b"half")
    with Writer(file, alone=False):
        assert left[0].exists(), "it may be at work: without a lock nobody knows"
    assert write(file, pixels)
    assert not any(path.exists() for path in left) and foreign.exists()


def test_an_error_while_decoding_leaves_nothing(tmp_path, pixels):
    file = CanvasFile(tmp_path, SHAPE, ORIGIN)
    with pytest.raises(KeyboardInterrupt), file.lock() as alone, Writer(file, alone=alone) as writer:
        writer.append(pixels[file.blocks[0]])
        raise KeyboardInterrupt
    assert names(tmp_path) == [".lock"] and file.look().damage == ""


# ---- disks


def write_limited(folder: Path, pixels: np.ndarray, connection) -> None:
    records = []
    canvas_writer.logger.warning = lambda text, *values: records.append(text % values)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    connection.send((write(CanvasFile(folder, SHAPE, ORIGIN), pixels), records))


def test_a_file_that_cannot_grow_is_one_warning(tmp_path, pixels):
    """The limit of the kernel, so that the real write fails: EFBIG, as ENOSPC and EDQUOT would."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=write_limited, args=(tmp_path, pixels, theirs))
    child.start()
    theirs.close()  # so that a child that fails is an error here and not a wait
    kept, (warning,) = ours.recv()
    child.join()
    assert child.exitcode == 0 and not kept
    file = CanvasFile(tmp_path, SHAPE, ORIGIN)
    assert (
        f"{file.pixels} cannot be kept (File too large): it takes 0.00 GB and" in warning and "GB are free" in warning
    )
    assert names(tmp_path) == [".lock"]
    assert write(file, pixels)  # negative control


def test_a_disk_that_is_too_small_is_not_filled_first(tmp_path, pixels, monkeypatch, caplog):
    usage = namedtuple("usage", "total used free")
    file = CanvasFile(tmp_path, SHAPE, ORIGIN)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, pixels.size - 1))
    assert not write(file, pixels)
    assert caplog.text.count("cannot be kept (No space left on device)") == 1 and names(tmp_path) == [".lock"]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, pixels.size))  # negative control
    assert write(file, pixels)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_fails_at_the_end_is_one_warning(tmp_path, pixels, monkeypatch, caplog, call):
    def fail(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    file = CanvasFile(tmp_path, SHAPE, ORIGIN)
    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), fail)
        assert not write(file, pixels)
    assert caplog.text.count("cannot be kept (Input/output error)") == 1 and names(tmp_path) == [".lock"]


def test_an_old_canvas_outlives_a_failed_mending(tmp_path, pixels, monkeypatch):
    file = CanvasFile(tmp_path, SHAPE, ORIGIN)
    write(file, pixels)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 1))
    assert not write(file, pixels) and np.array_equal(file.look().pixel_NHWC, pixels)


def test_a_folder_that_cannot_be_made_is_one_warning(tmp_path, pixels, caplog):
    (tmp_path / "file").write_text("")
    file = CanvasFile(tmp_path / "file" / "below", SHAPE, ORIGIN)
    assert file.look().damage == "" and not write(file, pixels)
    assert len(caplog.records) == 1 and "the free space is unknown" in caplog.text
