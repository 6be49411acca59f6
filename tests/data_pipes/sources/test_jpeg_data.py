"""JPEG files that lost most of their data, and have an end marker all the same."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from data_pipes.sources import jpeg_data
from data_pipes.sources.examination import examine

KINDS = {
    "plain": {},
    "fine": {"quality": 95, "subsampling": 0},
    "optimized": {"optimize": True, "quality": 60},
    "restarts by row": {"restart_marker_rows": 1},
    "restarts": {"restart_marker_blocks": 5},
    "progressive": {"progressive": True},
}


def photograph(mode="RGB", *, grey=False, **options) -> bytes:
    """Smooth shapes with noise; grey: the last rows are exactly as grey as what a decoder fills in."""
    y, x = np.mgrid[:150, :211]
    waves = np.stack([np.sin(x / (9 + c)) + np.cos(y / (5 + 2 * c)) for c in range(3)], axis=2)
    noise = np.random.default_rng(0).normal(0, 12, waves.shape)
    pixel_HWC = np.clip(128 + 50 * waves + noise, 0, 255).astype(np.uint8)
    if grey:
        pixel_HWC[-40:] = 128
    content = io.BytesIO()
    Image.fromarray(pixel_HWC).convert(mode).save(content, "JPEG", **options)
    return content.getvalue()


def cut(data: bytes, percent: int) -> bytes:
    """The file with this share of its data, and an end marker."""
    start = data.index(b"\xff\xda") + 14
    return data[: start + (len(data) - 2 - start) * percent // 100] + b"\xff\xd9"


def ends_early(data: bytes) -> bool:
    with Image.open(io.BytesIO(data)) as image:
        jpeg_data.reduce(image)
        image.load()
        return jpeg_data.ends_early(data, image)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_ends_early_is_noticed_wherever_it_was_cut(kind, mode):
    whole = photograph(mode, **KINDS[kind])
    assert not ends_early(whole)
    for percent in (20, 50, 80, 95, 99):
        assert ends_early(cut(whole, percent)), percent


@pytest.mark.parametrize("kind", KINDS)
def test_a_photograph_that_ends_in_grey_is_whole(kind):
    whole = photograph(grey=True, **KINDS[kind])
    assert not ends_early(whole)
    assert ends_early(cut(whole, 40))


def test_what_follows_the_image_does_not_matter():
    whole = photograph(grey=True)
    for more in (b"appended by a camera", whole, b"\xff\xd9" * 3, bytes(1000)):
        assert not ends_early(whole + more)
    assert not ends_early(whole[:-2] + b"\xff\xff\xff\xd9")  # fill bytes before the marker


def test_a_thumbnail_in_the_metadata_does_not_matter():
    exif = Image.Exif()
    exif[0x010E] = photograph().decode("latin-1")
    whole = photograph(exif=exif)
    assert not ends_early(whole)


def test_the_index_says_so(tmp_path):
    (tmp_path / "whole.jpg").write_bytes(photograph())
    (tmp_path / "cut.jpg").write_bytes(cut(photograph(), 50))
    assert examine(tmp_path / "whole.jpg").reason == ""
    assert "its data end before its last pixels" in examine(tmp_path / "cut.jpg").reason


def test_without_the_bytes_that_are_put_in_nothing_is_noticed(monkeypatch):
    monkeypatch.setattr(jpeg_data, "FILLER", b"")
    assert not ends_early(cut(photograph(), 50))


@pytest.mark.data("food10")
def test_no_photograph_of_food10_is_accused(data_root):
    paths = sorted(data_root.rglob("*.jpg"))
    assert len(paths) == 3250
    assert not [path for path in paths[::10] if ends_early(path.read_bytes())]
