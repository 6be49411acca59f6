from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from configs.errors import InputError, UsageError
from data_pipes.sources.images import ArrayImages, FileImages, as_channels, decode, orient, require_opencv
from data_pipes.sources.index import scan
from tiff_files import tiff


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("HEARTCUT_CACHE", str(tmp_path_factory.mktemp("cache")))


def picture(height: int = 30, width: int = 40) -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(cv2.resize(rng.integers(0, 256, (5, 4, 3), dtype=np.uint8), (width, height)))


def encode(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def store(folder: Path, **files: bytes) -> FileImages:
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return scan(folder, sorted(files)).images()


def pillow(data: bytes) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


def difference(a: np.ndarray, b: np.ndarray) -> int:
    assert a.shape == b.shape and a.dtype == b.dtype == np.uint8
    return int(np.abs(a.astype(int) - b).max())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_exactly_pillows(tmp_path, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(picture(), kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    assert difference(store(tmp_path, a=data).read(0, channels=3), pillow(data)) == 0


def test_orientations_are_eight_different_ones():
    pixel_HWC = np.arange(2 * 3 * 1, dtype=np.uint8).reshape(2, 3, 1)
    assert len({(orient(pixel_HWC, o).shape, orient(pixel_HWC, o).tobytes()) for o in range(1, 9)}) == 8


ODD = {
    "cmyk.jpg": lambda: encode(picture().convert("CMYK"), "JPEG", quality=95),
    "progressive.jpg": lambda: encode(picture(), "JPEG", progressive=True),
    "grey.jpg": lambda: encode(picture().convert("L"), "JPEG"),
    "grey.png": lambda: encode(picture().convert("L"), "PNG"),
    "bits.png": lambda: encode(picture().convert("1"), "PNG"),
    "palette.png": lambda: encode(picture().quantize(16), "PNG"),
    "palette-transparent.png": lambda: encode(picture().quantize(16), "PNG", transparency=3),
    "really-png.jpg": lambda: encode(picture(), "PNG"),
    "one.jpg": lambda: encode(picture(1, 1), "JPEG"),
    "one.png": lambda: encode(picture(1, 1), "PNG"),
    "line.jpg": lambda: encode(picture(1, 500), "JPEG"),
    "palette.bmp": lambda: encode(picture().quantize(16), "BMP"),
    "cmyk.tif": lambda: encode(picture().convert("CMYK"), "TIFF"),
    "palette.tif": lambda: encode(picture().quantize(16), "TIFF"),
    "lzw.tif": lambda: encode(picture(), "TIFF", compression="tiff_lzw"),
    "phone.jpg": lambda: encode(picture(), "MPO", save_all=True, append_images=[picture()]),
    "moving.webp": lambda: encode(picture(), "WEBP", save_all=True, append_images=[picture(30, 40)], lossless=True),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_files_mean_what_pillow_says(tmp_path, name):
    data = ODD[name]()
    images = store(tmp_path, **{name: data})
    # CMYK becomes RGB by rounding once in OpenCV and twice in Pillow.
    assert difference(images.read(0, channels=3), pillow(data)) <= (1 if name == "cmyk.jpg" else 0)
    grey = images.read(0, channels=1)
    assert grey.shape == (*pillow(data).shape[:2], 1)
    assert difference(grey[..., 0], np.asarray(Image.fromarray(pillow(data)).convert("L"))) <= 1


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_dropped_not_blended(tmp_path, kind):
    colour_HWC = np.asarray(picture())
    alpha_HW = np.random.default_rng(1).integers(1, 256, colour_HWC.shape[:2], dtype=np.uint8)
    data = encode(Image.fromarray(np.dstack([colour_HWC, alpha_HW])), kind, **({"exact": True} | {"lossless": True}))
    assert difference(store(tmp_path, a=data).read(0, channels=3), colour_HWC) == 0


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_keep_the_high_byte(tmp_path, suffix, channels):
    shape = (30, 40) if channels == 1 else (30, 40, 3)
    deep = np.random.default_rng(2).integers(0, 65536, shape, dtype=np.uint16)
    data = cv2.imencode(suffix, deep if channels == 1 else deep[..., ::-1])[1].tobytes()
    high = (deep >> 8).astype(np.uint8).reshape(30, 40, channels)
    assert difference(store(tmp_path, a=data).read(0, channels=3), as_channels(high, 3)) == 0


@pytest.mark.parametrize("reduce", [1, 2, 4, 8])
@pytest.mark.parametrize("orientation", [1, 6])
def test_reduced_jpeg_is_the_whole_image_made_smaller(tmp_path, reduce, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    images = store(tmp_path, a=encode(picture(64, 96), "JPEG", quality=98, exif=exif))
    full, small = images.read(0, channels=3), images.read(0, channels=3, reduce=reduce)
    assert small.shape == (full.shape[0] // reduce, full.shape[1] // reduce, 3)
    expected = cv2.resize(full, small.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - expected).mean() < 2


def test_reduce_leaves_formats_alone_that_would_alias(tmp_path):
    assert store(tmp_path, a=encode(picture(), "PNG")).read(0, channels=3, reduce=8).shape == (30, 40, 3)


def test_reads_are_the_callers_own(tmp_path):
    images = ArrayImages(np.zeros((2, 4, 4, 1), np.uint8))
    images.read(0, channels=1)[:] = 9
    assert images.pixel_NHWC.max() == 0
    pixel = store(tmp_path, a=encode(picture(), "PNG")).read(0, channels=3)
    assert pixel.flags.writeable and pixel.flags.c_contiguous


def test_arrays_change_channels():
    rng = np.random.default_rng(3)
    grey = ArrayImages(rng.integers(0, 256, (2, 5, 6, 1), dtype=np.uint8))
    assert (grey.read(1, channels=3) == grey.pixel_NHWC[1]).all() and grey.read(1, channels=3).shape == (5, 6, 3)
    colour = ArrayImages(rng.integers(0, 256, (2, 5, 6, 3), dtype=np.uint8))
    weighed = colour.pixel_NHWC[0] @ np.array([0.299, 0.587, 0.114])
    assert np.abs(colour.read(0, channels=1)[..., 0] - weighed).max() <= 1
    assert len(set(colour.crc_N.tolist())) == 2 and colour.crc_N.dtype == np.uint32


@pytest.mark.parametrize("version", ["4.12.0", "4.12.0-dev", "3.4"])
def test_an_opencv_that_lies_over_ours_is_refused(version):
    require_opencv("5.0.0"), require_opencv("5.1.0-pre"), require_opencv(cv2.__version__)
    with pytest.raises(UsageError, match=rf"OpenCV {version} is installed, .*; pip uninstall opencv-python "):
        require_opencv(version)


def test_a_file_gone_or_changed_is_named(tmp_path):
    images = store(tmp_path, a=encode(picture(), "JPEG"), b=encode(picture(), "PNG"), c=encode(picture(), "PNG"))
    assert images.read(0, channels=3).shape == (30, 40, 3)
    (tmp_path / "a").unlink()
    with pytest.raises(InputError, match=r"/a: the file is gone: the index is stale"):
        images.read(0, channels=3)
    (tmp_path / "b").write_bytes(encode(picture(50, 50), "PNG"))
    with pytest.raises(InputError, match=r"/b: the file has \d+ bytes, the index says \d+: the index is stale"):
        images.read(1, channels=3)
    (tmp_path / "c").write_bytes(b"x" * (tmp_path / "c").stat().st_size)
    with pytest.raises(InputError, match=r"/c: its content has changed: the index is stale"):
        images.read(2, channels=3)


def test_a_file_with_other_pixels_in_as_many_bytes_is_named(tmp_path):
    """As a tool leaves it that rewrites files while a run reads them."""
    one, other = (np.full((4, 4, 3), level, np.uint8) for level in (10, 20))
    images = store(tmp_path, a=encode(Image.fromarray(one), "BMP"))
    assert (images.read(0, channels=3) == one).all()
    (tmp_path / "a").write_bytes(encode(Image.fromarray(other), "BMP"))
    assert (decode((tmp_path / "a").read_bytes()) == other).all()  # the control: it decodes, and is as long
    with pytest.raises(InputError, match=r"/a: its content has changed: the index is stale"):
        images.read(0, channels=3)


def test_an_unchanged_file_that_cannot_be_decoded_is_not_called_stale(tmp_path, monkeypatch):
    images = store(tmp_path, a=encode(picture(), "PNG"))
    monkeypatch.setattr("data_pipes.sources.images.decode", lambda data, reduce: None)
    with pytest.raises(InputError, match="cannot be decoded; save it anew"):
        images.read(0, channels=3)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_rubbish_decodes_to_none():
    assert decode(b"II*\0rubbish") is None and decode(b"\xff\xd8rubbish") is None and decode(b"\x00") is None


def test_deep_grey_tiffs_keep_their_levels_whatever_their_bits_and_whichever_end_is_white():
    """Pillow hands over 12 bits as they are, and 16 bits in which white is zero without turning them."""
    grey_HW1 = np.asarray(picture().convert("L"))[..., None]
    deep_HW1 = grey_HW1.astype(np.uint16)
    for data in (
        tiff(deep_HW1 << 4, photometric=1, bits=12),
        tiff(deep_HW1 << 8, photometric=1, bits=16),
        tiff(65535 - (deep_HW1 << 8), photometric=0, bits=16),
    ):
        assert (decode(data) == grey_HW1).all()
