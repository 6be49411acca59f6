"""What is found of one file: sound, or bad and why."""

from __future__ import annotations

import io
import os
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from data_pipes.sources import examination
from data_pipes.sources.examination import examine


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
    monkeypatch.setattr(
        examination, "decode", lambda data: np.zeros((1, 1, 3), np.uint8)
    )  # as lenient as an older OpenCV
    assert "no PNG end marker" in reason(tmp_path, data)


def test_what_the_reader_cannot_decode_is_bad(tmp_path, monkeypatch):
    assert reason(tmp_path, encoded("BMP")) == ""
    monkeypatch.setattr(examination, "decode", lambda data: None)
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
    monkeypatch.setattr(examination, "decode", decoding)
    found = reason(tmp_path, data)
    assert "pixels" in found and "limit" in found
    if pillow_limit is None:  # negative control: it is our limit that stops it
        monkeypatch.setattr(examination, "PIXEL_LIMIT", 10**9)
        assert examine(tmp_path / "file.jpg").reason == "decoded"


def test_the_limit_counts_pixels(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(encoded("PNG"))
    monkeypatch.setattr(examination, "PIXEL_LIMIT", 200 * 160)
    assert examine(tmp_path / "a").reason == ""
    monkeypatch.setattr(examination, "PIXEL_LIMIT", 200 * 160 - 1)
    assert "limit" in examine(tmp_path / "a").reason


def test_floats_are_refused(tmp_path):
    stream = io.BytesIO()
    Image.fromarray(np.ones((4, 4), np.float32)).save(stream, "TIFF")
    assert "pixels of kind 'F'" in reason(tmp_path, stream.getvalue())


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_beside_sound_pixels_is_sound(tmp_path):
    data = encoded("JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01")
    assert reason(tmp_path, data) == "" and examine(tmp_path / "file.jpg").orientation == 1


def test_a_sparse_giant_and_a_pipe_are_bad_files(tmp_path):
    with (tmp_path / "giant.jpg").open("wb") as file:
        file.truncate(50 * 2**30)
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "it has 53,687,091,200 bytes" in examine(tmp_path / "giant.jpg").reason
    assert "a pipe or a device" in examine(tmp_path / "pipe.jpg").reason
