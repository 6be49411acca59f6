"""One process decodes a canvas, in all cores, while others wait; what is said meanwhile. What is kept: test_canvas."""

import errno
import fcntl
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from configs import heartbeat, resources
from data_pipes.executors import canvas_file
from data_pipes.executors.canvas_file import CanvasFile
from data_pipes.executors.canvas_keeper import Blocks, keep
from data_pipes.mixing import Rows
from data_pipes.spec import DataSpec

SHAPE = (40, 9, 11, 3)
SPEC = DataSpec(source="digits", image_size=(9, 11), mean=(0.5,) * 3, std=(0.2,) * 3)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch, caplog):
    monkeypatch.setattr(canvas_file, "BLOCK_ROWS", 7)
    caplog.set_level(logging.INFO, logger="data_pipes")


@pytest.fixture
def right() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8))


def kept(folder: Path, decode: Callable[[Rows], torch.Tensor]) -> np.ndarray | None:
    return keep(CanvasFile(folder, SHAPE, {}), Blocks(SHAPE, decode), {}, SPEC)


@pytest.mark.parametrize("lockable", [True, False])
def test_the_process_that_decodes_takes_the_cores_of_those_that_wait(tmp_path, right, monkeypatch, lockable):
    monkeypatch.setattr(resources, "cores", lambda: 8)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    threads = set()

    def unsupported(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    def decode(row_R):
        threads.add(SPEC.thread_count)
        return right[row_R]

    if not lockable:  # negative control: nobody waits
        monkeypatch.setattr(fcntl, "flock", unsupported)
    assert np.array_equal(kept(tmp_path, decode), right.numpy())
    assert threads == ({8} if lockable else {2}) and SPEC.thread_count == 2


def test_who_waits_says_how_far_the_other_is(tmp_path, right, monkeypatch, caplog):
    monkeypatch.setattr(heartbeat, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(heartbeat, "SECONDS", 0.0)
    monkeypatch.setattr(canvas_file, "POLL_SECONDS", 0.001)
    half, told = threading.Event(), threading.Event()

    def decode(row_R):
        if row_R[0] == 21:
            (partial,) = tmp_path.glob(".*.partial")
            os.truncate(partial, 21 * 9 * 11 * 3)  # as large as it is once its buffer is flushed
            half.set()
            assert told.wait(60)
        return right[row_R]

    first = threading.Thread(target=kept, args=(tmp_path, decode))
    first.start()
    assert half.wait(60)
    waiting = threading.Thread(target=kept, args=(tmp_path, lambda row_R: 1 / 0))
    waiting.start()
    while "canvas: another process wrote 21 of 40 images" not in caplog.text:
        waiting.join(0.01)
        assert waiting.is_alive()
    told.set()
    for thread in (first, waiting):
        thread.join(60)
    assert "40 images of 9 x 11 read from" in caplog.text, "it did not decode"


def test_a_canvas_that_cannot_be_kept_stops_at_the_first_block(tmp_path, right):
    (tmp_path / "file").write_text("")
    decoded = []
    assert kept(tmp_path / "file" / "below", lambda row_R: decoded.append(row_R) or right[row_R]) is None
    assert len(decoded) <= 1
