"""Files as DALI reads them, against our own reader; what it refuses; what has changed on the disk."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is not installed")

import reference
from configs.errors import InputError
from data_pipes import plan
from data_pipes.executors import dali_squash
from data_pipes.executors.dali import DaliExecutor
from data_pipes.executors.dali_kinds import read_alike
from data_pipes.pixels import levels
from data_pipes.sources.index import scan
from data_pipes.spec import DaliSpec, DataSpec
from odd_files import encode, odd_files, picture, turned
from tiff_files import tiff

CPU = torch.device("cpu")
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
DEVICES = [pytest.param("cpu"), pytest.param("cuda", marks=[pytest.mark.gpu, GPU])]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("HEARTCUT_CACHE", str(folder))
    return folder


def spec(channels=3) -> DataSpec:
    shape = {"mean": (0.485, 0.456, 0.406)[:channels], "std": (0.2, 0.21, 0.22)[:channels]}
    strict = DaliSpec(hw_decoder_load=0.0)
    return DataSpec(source="digits", executor="dali", image_size=(28, 28), threads=1, dali=strict, **shape)


def stored(folder, files: dict[str, bytes]):
    """A split of these files."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    table = scan(folder, tuple(files))
    assert table.ok.all(), table.reason_N
    empty = reference.in_memory([reference.noise(4, 4)] * len(files))
    return replace(empty, key_N=tuple(files), size_N2=table.size_N2, images=table.images())


def whole(samples) -> plan.Plan:
    return plan.evaluation(samples.size_N2, 1.0, (28, 28))


def carry_out(samples, device=CPU) -> torch.Tensor:
    worker = DaliExecutor(samples, spec(), torch.device(device), torch.float32)
    image_BCHW = worker.submit(np.arange(len(samples)), whole(samples)).result()
    worker.close()
    return image_BCHW


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("channels", [1, 3])
def test_odd_files_are_read_as_by_our_own_reader(tmp_path, own_cache, device, channels):
    """DALI 2.4 rounds 16 bits otherwise, by one level, and takes grey from colour with other roundings."""
    files = odd_files()
    samples = stored(tmp_path, files)
    wrong = {}
    for row, name in enumerate(files):
        expected = samples.read(row, channels=channels)
        size_HW = expected.shape[:2]
        ours = dali_squash.squash(samples, spec(channels=channels), torch.device(device), size_HW, np.array([row]))[
            0
        ].numpy()
        gap = reference.difference(ours, expected)
        limit = 1 if channels == 1 or name.startswith(("deep", "palette.tif")) else 0
        if gap.mean() > 2 if device == "cuda" else gap.max() > limit:
            wrong[name] = gap.mean(), gap.max()
    assert not wrong
    # What DALI does not read alike was given to it as a copy, and nothing else.
    copied = [
        name
        for row, name in enumerate(files)
        if not read_alike(files[name], orientation=samples.images.orientation_N[row], channels=channels)
    ]
    assert len(list((own_cache / "dali").iterdir())) == len(copied) < len(files) / 2


@pytest.mark.parametrize("device", DEVICES)
def test_a_file_that_dali_refuses_is_copied_once_and_spoils_no_batch(tmp_path, own_cache, caplog, device):
    refused = {f"{orientation}": turned("WEBP", orientation, lossless=True) for orientation in (3, 6)}
    samples = stored(tmp_path, {"a.jpg": encode(picture()), **refused, "c.png": encode(picture(), "PNG")})
    rows, view = np.arange(4), whole(samples)
    worker = DaliExecutor(samples, spec(), torch.device(device), torch.float32)
    first, second = worker.submit(rows, view), worker.submit(rows[::-1].copy(), view.take(rows[::-1]))
    assert torch.equal(second.result().flip(0), first.result())
    worker.close()
    copies = {copy: copy.stat().st_mtime_ns for copy in (own_cache / "dali").iterdir()}
    kept = {cv2.imread(str(copy))[..., ::-1].tobytes() for copy in copies}
    assert kept == {samples.read(row, channels=3).tobytes() for row in (1, 2)}
    fill = np.zeros(3, np.uint8)
    for row, ours in enumerate(levels(first.result().cpu().double(), spec()).numpy()):
        expected = reference.render(samples.read(row, channels=3), view.take(rows[row : row + 1]), (28, 28), fill)
        assert reference.difference(ours, expected).mean() < (0.5 if device == "cpu" else 2)
    assert sum("DALI cannot read this kind of file" in record.message for record in caplog.records) == 1
    # Another run finds the copies; a selection of the split finds them under other rows.
    assert torch.equal(carry_out(samples, device), first.result())
    assert torch.equal(carry_out(samples.select(np.array([3, 1])), device), first.result()[[3, 1]])
    assert {copy: copy.stat().st_mtime_ns for copy in (own_cache / "dali").iterdir()} == copies


def test_files_that_dali_reads_otherwise_become_our_own_pixels(tmp_path):
    """Each of these came otherwise by 10 to 200 levels, or upside down, and nothing said so."""
    rgba = np.dstack([reference.picture(30, 40), reference.noise(30, 40, 1)])
    files = {
        "associated.tif": tiff(rgba, photometric=2, extra=1),
        "grey-alpha.tif": tiff(rgba[..., 2:], photometric=1, extra=2),
        "tiles.tif": tiff(rgba[..., :3], photometric=2, orientation=6, tile=(16, 16)),
        "upside-down.jpg": encode(picture(), xmp=b'<x tiff:Orientation="3"/>'),
    }
    samples = stored(tmp_path, files)
    for row, name in enumerate(files):
        expected = samples.read(row, channels=3)
        ours = dali_squash.squash(samples, spec(), CPU, expected.shape[:2], np.array([row]))[0].numpy()
        assert np.array_equal(ours, expected), name


def test_a_copy_that_cannot_be_kept_is_the_users_to_mend(tmp_path, own_cache):
    samples = stored(tmp_path, {"b.webp": turned("WEBP", 6, lossless=True)})
    (own_cache / "dali").write_text("in the way")
    with pytest.raises(InputError, match=r"b\.webp: DALI cannot read .* set HEARTCUT_CACHE"):
        carry_out(samples)


def test_another_image_of_the_same_length_is_told(tmp_path):
    samples = stored(tmp_path, {"0.jpg": encode(picture()), "3.jpg": encode(picture(200, 200))})
    assert carry_out(samples).shape == (2, 3, 28, 28)
    size, smaller = (tmp_path / "3.jpg").stat().st_size, encode(picture())
    (tmp_path / "3.jpg").write_bytes(smaller + bytes(size - len(smaller)))
    with pytest.raises(InputError, match=r"3\.jpg: its content has changed"):
        carry_out(samples)
