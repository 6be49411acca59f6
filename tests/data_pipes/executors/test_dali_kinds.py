"""Every kind of file either reaches DALI and comes back as we read it, or does not reach it."""

import pickle
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import PIL
import pytest
from PIL.PngImagePlugin import PngInfo

import reference
from data_pipes.executors.dali_kinds import read_alike
from data_pipes.sources import examination
from data_pipes.sources.images import as_channels, decode, orient
from odd_files import encode, odd_files, picture, turned
from tiff_files import tiff

RGB = reference.picture(30, 40)
GREY = np.asarray(picture().convert("L"))[..., None]
ALPHA = reference.noise(30, 40, 1)
RGBA = np.dstack([RGB, ALPHA])
XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">{}</rdf:RDF></x:xmpmeta>'
TURNED = '<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="3"/>'


def exif(kind: int, value: bytes, order="<") -> bytes:
    """A directory of one entry, the orientation, as whatever type."""
    start = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(f"{order}HHHI", 1, 0x0112, kind, 1) + value.ljust(4, b"\0")
    return b"Exif\0\0" + start + struct.pack(f"{order}I", 8) + entry + bytes(4)


def png_with(kind: bytes, body: bytes, image=None) -> bytes:
    data = encode(image or picture(), "PNG")
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return data[:33] + chunk + data[33:]  # behind the header


def bmp(bits: int, compression: int, body: bytes, palette: bytes = b"") -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, 40, 30, 1, bits, compression, len(body), 2835, 2835, 0, 0)
    start = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + header + palette + body


def without_adobe(data: bytes) -> bytes:
    at = data.index(b"Adobe") - 4
    return data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]


def read_otherwise() -> dict[str, bytes]:
    """What DALI 2.4 refuses or reads by more than a level otherwise, without a word; measured one by one."""
    xmp = XMP.format(TURNED)
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp)
    files = {
        "grey-alpha.tif": tiff(np.dstack([GREY, ALPHA]), photometric=1, extra=2),
        "associated.tif": tiff(RGBA, photometric=2, extra=1),
        "palette-alpha.tif": encode(picture().quantize(16).convert("PA"), "TIFF"),
        "bits.tif": encode(picture().convert("1"), "TIFF"),
        "12-bits.tif": tiff((GREY.astype(np.uint16) << 4), photometric=1, bits=12),
        "planes-16.tif": tiff(RGB.astype(np.uint16) * 257, photometric=2, planar=2, bits=16),
        "lzma.tif": encode(picture(), "TIFF", compression="lzma"),
        "white-16.tif": tiff(65535 - GREY.astype(np.uint16) * 257, photometric=0, bits=16),
        "no-adobe.jpg": without_adobe(encode(picture().convert("CMYK"))),
        "xmp.jpg": encode(picture(), xmp=xmp.encode()),
        "long.jpg": encode(picture(), exif=exif(4, struct.pack(">I", 3), ">")),
        "byte.jpg": encode(picture(), exif=exif(1, b"\3")),
        "xmp.png": encode(picture(), "PNG", pnginfo=info),
        "xmp.webp": encode(picture(), "WEBP", xmp=xmp.encode(), lossless=True),
        "exif.webp": turned("WEBP", 1, lossless=True),
        "555.bmp": bmp(16, 0, (RGB[..., 0].astype("<u2") << 7).tobytes()),
        "rle4.bmp": bmp(4, 2, b"\x28\x37\0\0" * 30 + b"\0\1", bytes(range(64))),
    }
    if int(PIL.__version__.partition(".")[0]) >= 13:  # others cannot read it, and then neither can we
        files["grey-unspecified.tif"] = tiff(np.dstack([GREY, ALPHA]), photometric=1, extra=0)
    for orientation in (2, 3, 6, 7):
        files[f"tiles-{orientation}.tif"] = tiff(RGB, photometric=2, orientation=orientation, tile=(16, 16))
    for orientation in (2, 6):
        files[f"alpha-{orientation}.tif"] = tiff(RGBA, photometric=2, extra=2, orientation=orientation)
    return files


def orientation(folder: Path, data: bytes) -> int:
    (folder / "file").write_bytes(data)
    entry = examination.examine(folder / "file")
    assert entry.reason == ""
    return entry.orientation


@pytest.mark.parametrize("name", read_otherwise())
def test_what_dali_reads_otherwise_is_kept_from_it(tmp_path, name):
    data = read_otherwise()[name]
    for channels in (1, 3):
        assert not read_alike(data, orientation=orientation(tmp_path, data), channels=channels)


def test_common_files_are_not_copied(tmp_path):
    strips = {
        "rgb.tif": tiff(RGB, photometric=2),
        "grey.tif": tiff(GREY, photometric=1),
        "lzw.tif": encode(picture(), "TIFF", compression="tiff_lzw"),
        "jpeg.tif": encode(picture().convert("YCbCr"), "TIFF", compression="jpeg"),
    }
    others = {name: data for name, data in odd_files().items() if not name.endswith((".tif", ".webp", ".gif", ".avif"))}
    tones = {"tones.png": png_with(b"sRGB", b"\0"), "grey-tones.png": png_with(b"sRGB", b"\0", picture().convert("L"))}
    for name, data in (strips | others | tones).items():
        alike = read_alike(data, orientation=orientation(tmp_path, data), channels=3)
        assert alike == (name not in ("cmyk.jpg", "rgb-inside.jpg")), name


def test_rgb_in_a_jpeg_is_told_by_its_marker_and_by_the_names_of_its_components():
    """A GPU's decoder gives it other colours: on an H200, more than 2 levels away on average."""
    rgb, usual = encode(picture(), keep_rgb=True), encode(picture())
    assert b"Adobe" in rgb and b"R\x11\0G\x11\0B\x11\0" in rgb
    numbered = rgb.replace(b"R\x11\0G\x11\0B\x11\0", b"\1\x11\0\2\x11\0\3\x11\0")
    for data, alike in ((rgb, False), (without_adobe(rgb), False), (numbered, False), (usual, True)):
        assert read_alike(data, orientation=1, channels=3) is alike


@pytest.mark.parametrize("kind", ["sRGB", "gAMA"])
def test_grey_of_a_colour_png_that_knows_its_tones_is_kept_from_dali(kind):
    body = {"sRGB": b"\0", "gAMA": struct.pack(">I", 45455)}[kind]
    assert read_alike(png_with(kind.encode(), body), orientation=1, channels=3)
    assert not read_alike(png_with(kind.encode(), body), orientation=1, channels=1)
    assert read_alike(png_with(kind.encode(), body, picture().convert("L")), orientation=1, channels=1)


@pytest.mark.parametrize("cut", [3, 12, 20, 40])
def test_headers_that_end_early_are_no_error(cut):
    """The index has refused such files; what has changed since is found by its checksum."""
    for data in (encode(picture()), encode(picture(), "PNG"), turned("JPEG", 6)):
        assert isinstance(read_alike(data[:cut].ljust(40, b"\0"), orientation=1, channels=3), bool)


PROBE = """
import pickle, sys
import numpy as np
from nvidia.dali import fn, pipeline_def, types

@pipeline_def(batch_size=1, num_threads=1, device_id=None, exec_dynamic=True, prefetch_queue_depth=1)
def graph(kind):
    options = dict(device="cpu", adjust_orientation=True, output_type=kind, jpeg_fancy_upsampling=True)
    return fn.decoders.image(fn.external_source(name="data", dtype=types.UINT8), **options)

graphs = {1: graph(types.GRAY), 3: graph(types.RGB)}
for name, channels, data in pickle.load(sys.stdin.buffer):
    graphs[channels].feed_input("data", [np.frombuffer(data, np.uint8)])
    graphs[channels].schedule_run()
    (output,) = graphs[channels].share_outputs()
    np.save(sys.argv[1] + f"/{name}-{channels}.npy", np.asarray(output.at(0)))
    graphs[channels].release_outputs()
"""


def by_dali(folder: Path, files: list[tuple[str, int, bytes]]) -> subprocess.CompletedProcess[bytes]:
    """In a process of its own, which DALI may take down."""
    return subprocess.run([sys.executable, "-c", PROBE, str(folder)], input=pickle.dumps(files), capture_output=True)


def test_what_reaches_dali_is_read_as_by_our_own_reader(tmp_path):
    pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is not installed")
    images = {
        **odd_files(),
        **read_otherwise(),
        "rgb.tif": tiff(RGB, photometric=2),
        "tones.png": png_with(b"sRGB", b"\0"),
    }
    images |= {f"o{o}.tif": tiff(RGB, photometric=2, orientation=o) for o in range(1, 9)}
    upright = {name: orientation(tmp_path, data) for name, data in images.items()}
    fed = [
        (name, channels, data)
        for name, data in images.items()
        for channels in (1, 3)
        if read_alike(data, orientation=upright[name], channels=channels)
    ]
    assert len(fed) > 60
    assert by_dali(tmp_path, fed).returncode == 0
    for name, channels, data in fed:
        ours = as_channels(orient(decode(data), upright[name]), channels)
        theirs = np.load(tmp_path / f"{name}-{channels}.npy")
        limit = 2 if channels == 1 and name.startswith(("deep", "palette.tif")) else 1
        assert reference.difference(theirs, ours).max() <= limit, (name, channels)


def test_dali_still_reads_these_otherwise(tmp_path):
    """The control: a DALI that has learnt it needs no copy."""
    pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is not installed")
    names = ("associated.tif", "grey-alpha.tif", "xmp.jpg", "no-adobe.jpg")
    files = {name: read_otherwise()[name] for name in names}
    assert by_dali(tmp_path, [(name, 3, data) for name, data in files.items()]).returncode == 0
    for name, data in files.items():
        ours = orient(decode(data), orientation(tmp_path, data))
        theirs = np.load(tmp_path / f"{name}-3.npy")
        assert theirs.shape == ours.shape and reference.difference(theirs, ours).max() > 10
