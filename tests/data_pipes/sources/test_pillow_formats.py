"""GIF, AVIF and HEIC as Pillow reads them, upright; what is said where they cannot be read."""

import importlib
import io
import re

import numpy as np
import pytest
from PIL import Image, ImageOps, features

import reference
from data_pipes.executors.dali_kinds import read_alike
from data_pipes.sources import pillow_formats
from data_pipes.sources.examination import examine, formats
from data_pipes.sources.images import decode
from data_pipes.sources.index import scan
from odd_files import encode, picture, turned

AVIF = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("HEARTCUT_CACHE", str(tmp_path_factory.mktemp("cache")))
    pillow_formats.available.cache_clear()
    yield
    pillow_formats.available.cache_clear()


@pytest.fixture
def heic():
    return pytest.importorskip("pillow_heif", reason="pillow-heif is not installed: HEIC is not tried")


def shown(folder, data: bytes) -> np.ndarray:
    (folder / "a").write_bytes(data)
    table = scan(folder, ["a"])
    assert table.ok.all(), table.reason_N
    pixel_HWC = table.images().read(0, channels=3)
    assert pixel_HWC.shape[:2] == tuple(table.size_N2[0])
    return pixel_HWC


def upright(image) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


@pytest.mark.parametrize("orientation", range(1, 9))
@AVIF
def test_avif_is_upright(tmp_path, orientation):
    data = turned("AVIF", orientation, quality=95)
    pixel_HWC = shown(tmp_path, data)
    assert np.array_equal(pixel_HWC, upright(Image.open(io.BytesIO(data))))
    meant = picture()
    meant.getexif()[0x0112] = orientation
    assert reference.difference(pixel_HWC, upright(meant)).mean() < 5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic_is_upright(tmp_path, heic, orientation):
    meant = picture(60, 80)
    meant.getexif()[0x0112] = orientation
    formats()  # registers the plug-in
    data = encode(meant, "HEIF", quality=95)
    assert pillow_formats.kind_of(data) == "HEIF" and (b"irot" in data or orientation in (1, 2, 4))
    assert reference.difference(shown(tmp_path, data), upright(meant)).mean() < 5


@pytest.mark.parametrize("transparency", [None, 3])
def test_a_gif_is_its_first_frame_in_the_colours_of_its_palette(tmp_path, transparency):
    first, options = picture().quantize(16), {} if transparency is None else {"transparency": transparency}
    data = encode(first, "GIF", save_all=True, append_images=[Image.new("P", (40, 30))], **options)
    assert np.array_equal(shown(tmp_path, data), np.asarray(first.convert("RGB")))
    assert np.array_equal(shown(tmp_path, encode(picture().convert("L"), "GIF"))[..., 0], picture().convert("L"))


@pytest.mark.parametrize("kind", ["GIF", pytest.param("AVIF", marks=AVIF)])
def test_half_a_file_is_bad(tmp_path, kind):
    data = encode(picture(), kind)
    for cut in (data[: len(data) // 2], data[:-20], data[:20]):
        (tmp_path / "a").write_bytes(cut)
        assert examine(tmp_path / "a").reason
    assert decode(data[: len(data) // 2]) is None


@pytest.mark.parametrize("kind", ["GIF", pytest.param("AVIF", marks=AVIF)])
def test_dali_is_given_a_copy(kind):
    assert not read_alike(encode(picture(), kind), orientation=1, channels=3)


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50)
HEIC_BY_COMPATIBILITY = b"\0\0\0\x18ftypmif1\0\0\0\0mif1miaf" + bytes(50)
AVIF_BY_COMPATIBILITY = b"\0\0\0\x18ftypmif1\0\0\0\0avifmif1" + bytes(50)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (HEIC, "HEIC, .* pip install pillow-heif, or save it as one of JPEG, "),
        (HEIC_BY_COMPATIBILITY, "HEIC, .* pip install pillow-heif"),
        (AVIF_BY_COMPATIBILITY, r"AVIF, .* pip install 'pillow>=11\.3'"),
        (b"\0\0\0\x18ftypisom\0\0\0\0mp42avc1" + bytes(50), "a video or a picture of another kind"),
    ],
)
def test_what_cannot_be_read_here_says_what_to_install(tmp_path, monkeypatch, data, expected):
    monkeypatch.setattr(features, "check", lambda name: False)
    monkeypatch.setattr(importlib, "import_module", lambda name: (_ for _ in ()).throw(ImportError(name)))
    (tmp_path / "a").write_bytes(data)
    assert re.search(expected, examine(tmp_path / "a").reason)


@AVIF
def test_the_index_is_made_anew_where_more_can_be_read(tmp_path, monkeypatch):
    (tmp_path / "a.avif").write_bytes(encode(picture(), "AVIF"))
    with monkeypatch.context() as without:
        without.setattr(features, "check", lambda name: False)
        assert "pip install" in scan(tmp_path, ["a.avif"]).reason_N[0]
    pillow_formats.available.cache_clear()
    assert scan(tmp_path, ["a.avif"]).ok.all()
