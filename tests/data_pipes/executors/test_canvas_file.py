"""Canvases on disk. N images in blocks of R, H x W pixels, C channels."""

import errno
import fcntl
import json
import multiprocessing
import os
import re
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from configs import resources
from data_pipes.executors import canvas_file
from data_pipes.executors.canvas_file import CanvasFile
from data_pipes.executors.canvas_writer import Writer

SHAPE = (40, 9, 11, 3)
ORIGIN = {"samples": "ab12", "decoder": "a decoder"}
BLOCKS = 6  # the last one is shorter


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
        return writer.keep({"split": "train"})


def read(file: CanvasFile, threads: int = 2) -> tuple[np.ndarray, canvas_file.Finding]:
    """What is there of a canvas: the map, or else the blocks that are intact."""
    finding, found = file.look(threads), np.full(file.shape, 77, np.uint8)
    for number, rows in enumerate(file.blocks):
        block = file.block(number)
        assert (block is None) == (number in finding.lacking)
        if block is not None:
            found[rows] = block
    assert (finding.pixel_NHWC is None) == bool(finding.lacking)
    return found if finding.pixel_NHWC is None else finding.pixel_NHWC, finding


def names(folder: Path) -> list[str]:
    return sorted(path.suffix for path in folder.iterdir())


@pytest.mark.parametrize("threads", [1, 3])
def test_what_is_written_is_read(tmp_path, pixels, threads):
    file = CanvasFile(tmp_path / "new", SHAPE, ORIGIN)
    assert read(file)[1] == canvas_file.Finding(frozenset(range(BLOCKS))), "nothing is there, and nothing is wrong"
    assert write(file, pixels) and file.size == pixels.size
    found, finding = read(CanvasFile(tmp_path / "new", SHAPE, ORIGIN), threads)
    assert np.array_equal(found, pixels) and finding == canvas_file.Finding(frozenset())
    assert names(tmp_path / "new") == [".json", ".lock", ".pixels"]


def test_a_canvas_that_is_larger_than_the_memory_can_be_mapped(tmp_path):
    """np.memmap asks for as much memory as might be written, and the kernel refuses it."""
    side, memory = 2**16, resources.machine_memory()
    if memory is None:
        pytest.skip("the size of the memory is unknown")
    file = CanvasFile(tmp_path, (4 * memory // side**2 + 1, side, side, 1), ORIGIN)
    with file.pixels.open("w+b") as stream:
        stream.truncate(file.size)  # sparse: it takes no space
        mapped = file._mapped(stream)
    assert mapped.shape == file.shape and mapped[-1, -1, -1] == 0 and mapped.flags.writeable


def test_the_files_say_what_they_are(tmp_path, pixels):
    file = CanvasFile(tmp_path, SHAPE, ORIGIN)
    write(file, pixels)
    assert np.array_equal(np.fromfile(file.pixels, np.uint8).reshape(SHAPE), pixels)
    manifest = json.loads(file.manifest.read_text())
    assert manifest["identity"] == {"format": 1, "shape": list(SHAPE), "rows_per_block": 7, **ORIGIN}
    assert manifest["note"]["split"] == "train" and manifest["note"]["python"]
    assert len(manifest["crc_32"]) == BLOCKS


def test_blocks_hold_every_row_once_and_little_memory(monkeypatch):
    for shape in [(1, 4, 4, 1), (7, 4, 4, 1), (50, 300, 300, 3)]:
        rows = np.concatenate([np.arange(shape[0])[block] for block in canvas_file.blocks(shape)])
        assert rows.tolist() == list(range(shape[0]))
    monkeypatch.setattr(canvas_file, "BLOCK_ROWS", 1024)
    assert canvas_file.blocks((5000, 255, 255, 3))[0] == slice(0, 344)  # 64 MiB
    assert canvas_file.blocks((5000, 32, 32, 3))[0] == slice(0, 1024)
    assert canvas_file.blocks((2, 9000, 9000, 3))[0] == slice(0, 1)


@pytest.mark.parametrize(
    ("shape", "origin"),
    [
        ((41, 9, 11, 3), ORIGIN),
        ((40, 11, 9, 3), ORIGIN),
        ((40, 9, 33, 1), ORIGIN),
        (SHAPE, {**ORIGIN, "samples": "ab13"}),
        (SHAPE, {**ORIGIN, "decoder": "another decoder"}),
    ],
)
def test_another_canvas_has_another_name(tmp_path, pixels, shape, origin):
    write(CanvasFile(tmp_path, SHAPE, ORIGIN), pixels)
    other = CanvasFile(tmp_path, shape, origin)
    assert not other.pixels.exists() and read(other)[1].damage == ""
    assert CanvasFile(tmp_path, SHAPE, dict(reversed(ORIGIN.items()))).pixels.exists()  # negative control


@pytest.mark.parametrize("constant", ["FORMAT", "BLOCK_ROWS"])
def test_another_format_has_another_name(tmp_path, monkeypatch, constant):
    before = CanvasFile(tmp_path, SHAPE, ORIGIN)
    monkeypatch.setattr(canvas_file, constant, 2)
    assert CanvasFile(tmp_path, SHAPE, ORIGIN).pixels != before.pixels


@pytest.mark.parametrize("block", range(BLOCKS))
@pytest.mark.parametrize("at", [0, -1])
def test_one_wrong_bit_is_found_in_its_block(tmp_path, pixels, block, at):
    file = CanvasFile(tmp_path, SHAPE, ORIGIN)
    write(file, pixels)
    damaged = pixels.copy()
    damaged[file.blocks[block]].reshape(-1)[at] ^= 1
    file.pixels.write_bytes(damaged.tobytes())
    found, finding = read(file)
    assert finding.lacking == {block}
    rows = file.blocks[block]
    assert f"{file.pixels} is damaged in 1 of 6 blocks" in finding.damage
    assert f"block {block} (images {rows.start} to {rows.stop - 1}): the checksum differs" in finding.damage
    sound = np.ones(len(pixels), bool)
    sound[rows] = False
    assert np.array_equal(found[sound], pixels[sound])


def shortened(file: CanvasFile) -> str:
    os.truncate(file.pixels, file.size - 5 * 9 * 11 * 3 - 10)
    return "block 4 .*: 10 bytes are missing; block 5 .*: 1485 bytes are missing"


def emptied(file: CanvasFile) -> str:
    os.truncate(file.pixels, 0)
    return "damaged in 6 of 6 .*; and 3 more"


def with_a_hole(file: CanvasFile) -> str:
    row = 9 * 11 * 3
    with file.pixels.open("r+b") as stream:
        stream.seek(15 * row)
        stream.write(bytes(3 * row))
    return "block 2 .*: the checksum differs"


def swapped(file: CanvasFile) -> str:
    data = file.pixels.read_bytes()
    size = 7 * 9 * 11 * 3
    file.pixels.write_bytes(data[:size] + data[2 * size : 3 * size] + data[size : 2 * size] + data[3 * size :])
    return "damaged in 2 of 6 blocks: block 1 .* block 2"


def without_pixels(file: CanvasFile) -> str:
    file.pixels.unlink()
    return "No such file"


def a_folder_for_pixels(file: CanvasFile) -> str:
    file.pixels.unlink()
    file.pixels.mkdir()
    return "Is a directory"


@pytest.mark.parametrize(
    ("damage", "lacking"),
    [
        (shortened, {4, 5}),
        (emptied, set(range(BLOCKS))),
        (with_a_hole, {2}),
        (swapped, {1, 2}),
        (without_pixels, set(range(BLOCKS))),
        (a_folder_for_pixels, set(range(BLOCKS))),
    ],
)
def test_damaged_pixels_are_found(tmp_path, pixels, damage, lacking):
    file = CanvasFile(tmp_path, SHAPE, ORIGIN)
    write(file, pixels)
    assert read(file)[1].lacking == set()  # negative control
    expected = damage(file)
    found, finding = read(file)
    assert finding.lacking == lacking
    assert file.pixels.name in finding.damage
    assert re.search(expected, finding.damage), finding.damage
    for block in set(range(BLOCKS)) - lacking:
        assert np.array_equal(found[file.blocks[block]], pixels[file.blocks[block]])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "has no manifest"),
        ("", "cannot be read"),
        ('{"identity": {', "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
        ("[1, 2]", "not a manifest of 6 blocks"),
        ("{}", "not a manifest of 6 blocks"),
        ({"crc_32": [1, 2, 3]}, "not a manifest of 6 blocks"),
        ({"crc_32": "123456"}, "not a manifest of 6 blocks"),
        ({"identity": None}, "not a manifest of 6 blocks"),
        ({"identity": {"format": 0}}, "foreign: format is 0 and should be 1"),
        ({"identity": {"samples": "ff"}}, "foreign: samples is 'ff' and should be 'ab12'"),
        ({"identity": {"shape": [40, 11, 9, 3]}}, "foreign: shape is"),
        ({"crc_32": [None, "x", 1.5, [], {}, -1]}, "damaged in 6 of 6 blocks"),
    ],
)
def test_a_manifest_that_is_damaged_or_foreign_vouches_for_nothing(tmp_path, pixels, content, expected):
    file = CanvasFile(tmp_path, SHAPE, ORIGIN)
    write(file, pixels)
    manifest = json.loads(file.manifest.read_text())
    file.manifest.unlink()
    if isinstance(content, dict):
        if content.get("identity"):
            content = {"identity": {**manifest["identity"], **content["identity"]}}
        file.manifest.write_text(json.dumps({**manifest, **content}))
    elif content is not None:
        file.manifest.write_bytes(content if isinstance(content, bytes) else content.encode())
    finding = read(file)[1]
    assert finding.lacking == set(range(BLOCKS)) and expected in finding.damage
    file.manifest.write_text(json.dumps(manifest))  # negative control
    assert read(file)[1].lacking == set()


# ---- several at once


def test_a_second_writer_waits_for_the_first(tmp_path, caplog):
    caplog.set_level("INFO")
    first, second = (CanvasFile(tmp_path, SHAPE, ORIGIN) for _ in range(2))
    entered = threading.Event()

    def enter() -> None:
        with second.lock() as alone:
            assert alone
            entered.set()

    with first.lock() as alone:
        assert alone
        waiting = threading.Thread(target=enter)
        waiting.start()
        assert not entered.wait(0.2)
        with CanvasFile(tmp_path, SHAPE, {}).lock() as other:  # another canvas is not held up
            assert other
    assert entered.wait(5)
    waiting.join()
    assert caplog.text.count("waiting for it") == 1


def hold(folder: Path, connection) -> None:
    with CanvasFile(folder, SHAPE, ORIGIN).lock():
        connection.send("held")
        signal.pause()


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=hold, args=(tmp_path, theirs))
    child.start()
    theirs.close()
    assert ours.recv() == "held"
    lock = CanvasFile(tmp_path, SHAPE, ORIGIN).pixels.with_suffix(".lock")
    with lock.open("ab") as file, pytest.raises(BlockingIOError):  # negative control
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    child.kill()
    child.join()
    with CanvasFile(tmp_path, SHAPE, ORIGIN).lock() as alone:
        assert alone


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_where_nothing_can_be_locked_it_is_written_without(tmp_path, pixels, monkeypatch, code):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    file = CanvasFile(tmp_path, SHAPE, ORIGIN)
    with file.lock() as alone:
        assert not alone
    assert write(file, pixels) and np.array_equal(read(file)[0], pixels)


def test_a_folder_that_may_only_be_read_is_read(tmp_path, pixels, monkeypatch):
    """A cache that somebody else filled; the error is put there because the superuser may write anywhere."""
    file = CanvasFile(tmp_path, SHAPE, ORIGIN)
    write(file, pixels)
    opened = Path.open

    def read_only(self, mode="r", *rest):
        if mode != "rb":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(self, mode, *rest)

    monkeypatch.setattr(Path, "open", read_only)
    assert read(file)[1].lacking == set() and not write(file, pixels)
