from __future__ import annotations

import io
import logging
import multiprocessing
import os
import re
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from configs import heartbeat, stopping
from configs.errors import InputError
from configs.stopping import StoppedError
from data_pipes.sources import index
from data_pipes.sources.index import examine, scan


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("HEARTCUT_CACHE", str(folder))
    return folder


def encoded(kind: str, size: tuple[int, int] = (200, 160), **options) -> bytes:
    ramp = np.linspace(0, 255, size[0] * size[1] * 3).reshape(size[1], size[0], 3).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(ramp)).save(stream, kind, **options)
    return stream.getvalue()


def reason(folder: Path, data: bytes) -> str:
    (folder / "file.jpg").write_bytes(data)
    return examine(folder / "file.jpg").reason


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 4}])
@pytest.mark.parametrize("size", [(200, 160), (16, 16), (1, 1)])
def test_a_jpeg_is_sound_only_whole(tmp_path, options, size):
    data = encoded("JPEG", size, **options)
    assert reason(tmp_path, data) == ""
    assert reason(tmp_path, data + b"trailing bytes of a camera") == ""
    for cut in (data[:-1], data[:-2], data[: len(data) * 3 // 4], data[: len(data) // 2], data[:20]):
        assert reason(tmp_path, cut), f"{len(data) - len(cut)} bytes missing were not noticed"


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "TIFF"])
def test_other_formats_are_sound_only_whole(tmp_path, kind):
    data = encoded(kind)
    assert reason(tmp_path, data) == ""
    for cut in (data[:-2], data[:-20], data[: len(data) // 2]):
        assert reason(tmp_path, cut), f"{len(data) - len(cut)} bytes missing were not noticed"


def test_a_png_without_end_is_noticed_without_the_decoder(tmp_path, monkeypatch):
    data = encoded("PNG")[:-2]
    Image.open(io.BytesIO(data)).load()  # negative control: Pillow alone lets it pass
    monkeypatch.setattr(index, "decode", lambda data: np.zeros((1, 1, 3), np.uint8))  # as lenient as an older OpenCV
    assert "no PNG end marker" in reason(tmp_path, data)


def test_what_the_reader_cannot_decode_is_bad(tmp_path, monkeypatch):
    assert reason(tmp_path, encoded("BMP")) == ""
    monkeypatch.setattr(index, "decode", lambda data: None)
    assert "OpenCV cannot decode this BMP" in reason(tmp_path, encoded("BMP"))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "empty file"),
        (b"<html>404 not found</html>", "not an image"),
        (encoded("GIF")[:20], "damaged GIF"),
        (b"RIFF    AVI LIST", "not an image .* allowed are JPEG, PNG, WEBP, BMP, TIFF, GIF"),
        (encoded("PPM"), "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not an image"),
    ],
)
def test_foreign_files_are_named(tmp_path, data, expected):
    assert re.search(expected, reason(tmp_path, data))


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(3_000_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def jpeg(width: int, height: int) -> bytes:
    data = encoded("JPEG", (16, 16))
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


@pytest.mark.parametrize("pillow_limit", [Image.MAX_IMAGE_PIXELS, None])
@pytest.mark.parametrize("forge", [png, jpeg])
def test_a_forged_giant_is_refused_before_decoding(tmp_path, monkeypatch, forge, pillow_limit):
    def decoding(self):
        raise AssertionError("decoded")

    data = forge(20_000, 20_000)
    assert len(data) < 8_000
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pillow_limit)  # other libraries switch Pillow's own limit off
    monkeypatch.setattr(ImageFile.ImageFile, "load", decoding)
    monkeypatch.setattr(index, "decode", decoding)
    found = reason(tmp_path, data)
    assert "pixels" in found and "limit" in found
    if pillow_limit is None:  # negative control: it is our limit that stops it
        monkeypatch.setattr(index, "PIXEL_LIMIT", 10**9)
        assert examine(tmp_path / "file.jpg").reason == "decoded"


def test_the_limit_counts_pixels(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(encoded("PNG"))
    monkeypatch.setattr(index, "PIXEL_LIMIT", 200 * 160)
    assert examine(tmp_path / "a").reason == ""
    monkeypatch.setattr(index, "PIXEL_LIMIT", 200 * 160 - 1)
    assert "limit" in examine(tmp_path / "a").reason


def test_floats_are_refused(tmp_path):
    stream = io.BytesIO()
    Image.fromarray(np.ones((4, 4), np.float32)).save(stream, "TIFF")
    assert "pixels of kind 'F'" in reason(tmp_path, stream.getvalue())


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_beside_sound_pixels_is_sound(tmp_path):
    data = encoded("JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01")
    assert reason(tmp_path, data) == "" and examine(tmp_path / "file.jpg").orientation == 1


def folder_of(tmp_path: Path, n: int = 6) -> tuple[Path, list[str]]:
    root = tmp_path / "images"
    (root / "sub").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    for i in range(n):
        (root / f"sub/{i}.jpg").write_bytes(encoded("JPEG", (20 + i, 10), exif=exif))
    (root / "sub/0.jpg").write_bytes(b"text")
    return root, [f"sub/{i}.jpg" for i in range(n)]


def test_the_table_is_right_for_any_number_of_threads(tmp_path):
    root, paths = folder_of(tmp_path)
    table = scan(root, paths, threads=3)
    assert table.ok.tolist() == [False] + [True] * 5
    assert table.size_N2[1:].tolist() == [[20 + i, 10] for i in range(1, 6)]  # lying images, upright
    assert table.size_N2[0].tolist() == [0, 0] and table.orientation_N[1:].tolist() == [6] * 5
    for row, path in enumerate(paths):
        data = (root / path).read_bytes()
        assert table.byte_N[row] == len(data) and table.crc_N[row] == zlib.crc32(data)
    assert table.images().read(3, channels=3).shape == (23, 10, 3)


def test_a_lenient_pillow_is_made_strict_for_the_scan(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(encoded("JPEG")[:-500])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert examine(tmp_path / "a").reason == ""  # negative control
    assert "truncated" in scan(tmp_path, ["a"]).reason_N[0]
    assert ImageFile.LOAD_TRUNCATED_IMAGES


def test_the_second_scan_reads_no_file(tmp_path, monkeypatch, cache):
    root, paths = folder_of(tmp_path)
    first = scan(root, paths)
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(index, "examine", lambda *_: pytest.fail("read a file"))
    second = scan(root, paths)
    for name in index.COLUMNS:
        assert (getattr(first, name) == getattr(second, name)).all()
        assert getattr(first, name).dtype == getattr(second, name).dtype
    with pytest.raises(pytest.fail.Exception):
        scan(root, paths[1:])


@pytest.mark.parametrize("change", ["size", "time", "new limit"])
def test_a_changed_file_misses_the_cache(tmp_path, monkeypatch, change):
    root, paths = folder_of(tmp_path)
    scan(root, paths)
    state = (root / paths[1]).stat()
    data = b"x" * (state.st_size + (change == "size"))
    (root / paths[1]).write_bytes(data)
    later = state.st_mtime_ns + (change == "time")
    os.utime(root / paths[1], ns=(later, later))
    if change == "new limit":
        monkeypatch.setattr(index, "PIXEL_LIMIT", 10**8)
    assert scan(root, paths).crc_N[1] == zlib.crc32(data)


def test_same_size_and_time_is_taken_from_the_cache(tmp_path):
    """Negative control, and the documented weakness: such a change is found when the file is read."""
    root, paths = folder_of(tmp_path)
    before = scan(root, paths).crc_N[1]
    state = (root / paths[1]).stat()
    (root / paths[1]).write_bytes(b"x" * state.st_size)
    os.utime(root / paths[1], ns=(state.st_mtime_ns, state.st_mtime_ns))
    assert scan(root, paths).crc_N[1] == before


def test_a_damaged_cache_is_rebuilt(tmp_path, cache, caplog):
    root, paths = folder_of(tmp_path)
    first = scan(root, paths)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    damages = [b"", b"text", whole[:-30], whole[: len(whole) // 2]]
    damages += [whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :] for at in range(0, len(whole), 29)]
    for damage in damages:
        file.write_bytes(damage)
        again = scan(root, paths)
        assert all((getattr(first, name) == getattr(again, name)).all() for name in index.COLUMNS)
    assert caplog.text.count("is damaged") > len(damages) // 2
    assert [f.name for f in cache.iterdir()] == [file.name]


def test_a_cache_with_an_object_array_is_not_unpickled(tmp_path, cache):
    root, paths = folder_of(tmp_path)
    scan(root, paths)
    (file,) = cache.iterdir()

    class Bomb:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    np.savez(file, **{name: np.array([Bomb()], object) for name in index.COLUMNS})
    assert scan(root, paths).ok.sum() == 5 and not (tmp_path / "ran").exists()


def test_an_unwritable_cache_is_a_warning(tmp_path, monkeypatch, caplog):
    root, paths = folder_of(tmp_path)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HEARTCUT_CACHE", str(tmp_path / "file" / "below"))
    assert scan(root, paths).ok.sum() == 5
    assert "cannot be kept" in caplog.text


def test_a_failed_write_leaves_nothing_behind(tmp_path, cache, monkeypatch, caplog):
    root, paths = folder_of(tmp_path)

    def full(*_args, **_columns):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    assert scan(root, paths).ok.sum() == 5
    assert list(cache.iterdir()) == [] and "No space left" in caplog.text


def scan_often(root: Path, paths: list[str], damage: Path) -> None:
    for i in range(30):
        if i % 3 == 0:
            for file in damage.glob("index-*.npz"):
                file.unlink(missing_ok=True)
        assert scan(root, paths, 1).ok.sum() == 5


def test_processes_at_once_never_see_half_a_cache(tmp_path, cache):
    root, paths = folder_of(tmp_path)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=scan_often, args=(root, paths, cache)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert not list(cache.glob(".index-*"))


def test_a_file_that_cannot_be_opened_is_not_remembered_as_bad(tmp_path, cache):
    root, paths = folder_of(tmp_path)
    table = scan(root, [*paths, "gone.jpg"])
    assert table.reason_N[-1].startswith("cannot be read: No such file") and list(cache.iterdir()) == []


@pytest.mark.parametrize("path", ["../x.jpg", "a/../../x.jpg", "/etc/x.jpg"])
def test_paths_that_leave_the_root_are_refused(tmp_path, path):
    with pytest.raises(InputError, match="does not lie below"):
        scan(tmp_path, [path])


def test_no_files_at_all(tmp_path):
    assert len(scan(tmp_path, []).path_N) == 0 and scan(tmp_path, []).size_N2.shape == (0, 2)


def test_a_long_scan_says_how_far_it_is(tmp_path, monkeypatch, caplog):
    root, paths = folder_of(tmp_path)
    caplog.set_level(logging.INFO)
    scan(root, paths)
    assert "checked" not in caplog.text  # negative control: a short one does not
    monkeypatch.setattr(heartbeat, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(heartbeat, "SECONDS", 0.0)
    scan(root, [*paths, *paths])
    assert re.search(r"checked 11 of 12 images, [\d.,]+ images/s, 0 s left", caplog.text)


@pytest.mark.data("food10")
def test_food10_is_sound(data_root):
    paths = [path.relative_to(data_root).as_posix() for path in sorted(data_root.rglob("*.jpg"))]
    table = scan(data_root, paths)
    assert len(paths) == 3250 and table.ok.all() and (table.size_N2 > 0).all()


def test_a_sparse_giant_and_a_pipe_are_bad_files(tmp_path):
    with (tmp_path / "giant.jpg").open("wb") as file:
        file.truncate(50 * 2**30)
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "it has 53,687,091,200 bytes" in examine(tmp_path / "giant.jpg").reason
    assert "a pipe or a device" in examine(tmp_path / "pipe.jpg").reason


def test_a_pass_ends_when_it_is_asked_to_stop_and_keeps_nothing(tmp_path, cache, monkeypatch):
    paths = [f"{number}.bmp" for number in range(40)]
    for path in paths:
        (tmp_path / path).write_bytes(encoded("BMP", (8, 8)))
    looked: list[Path] = []
    real = index.examine
    monkeypatch.setattr(index, "examine", lambda path: looked.append(path) or time.sleep(0.01) or real(path))
    monkeypatch.setattr(stopping, "_asked", ["SIGTERM was received"])
    with pytest.raises(StoppedError, match="SIGTERM was received"):
        scan(tmp_path, paths, threads=1)
    assert len(looked) < len(paths) and not list(cache.iterdir())
    monkeypatch.setattr(stopping, "_asked", [])  # the control
    assert scan(tmp_path, paths, threads=1).ok.all() and list(cache.iterdir())
