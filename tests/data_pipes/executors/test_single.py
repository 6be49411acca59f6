"""The view of a single image is the host executor's, bit for bit."""

from __future__ import annotations

import warnings

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

import reference
from configs.errors import InputError
from data_pipes import plan
from data_pipes.executors.host import HostExecutor
from data_pipes.executors.single import views
from data_pipes.sources import source
from data_pipes.spec import DataSpec


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """JPEG files that are decoded at several scales, one that is turned, one grey, one PNG."""
    monkeypatch.setenv("HEARTCUT_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, size in enumerate([(40, 60), (300, 200), (801, 513)]):
        cv2.imwrite(str(folder / f"{i}.jpg"), reference.picture(*size, seed=i))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(reference.picture(150, 210)).save(folder / "turned.jpg", exif=exif)
    cv2.imwrite(str(folder / "grey.jpg"), reference.picture(90, 90, 1))
    cv2.imwrite(str(folder / "a.png"), reference.picture(33, 70))
    return folder


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("eval_crop", [1.0, 0.875])
@pytest.mark.parametrize("size", [(32, 32), (48, 64)])
def test_views_are_the_host_executors(photos, channels, eval_crop, size):
    own = {"mean": (0.4, 0.5, 0.6)[:channels], "std": (0.2, 0.3, 0.25)[:channels], "threads": 2}
    spec = DataSpec(source="folder", image_size=size, eval_crop=eval_crop, **own)
    samples = source.unlabelled("error", photos)
    executor = HostExecutor(samples, spec, torch.device("cpu"), torch.float32)
    fixed = plan.evaluation(samples.size_N2, eval_crop, size)
    expected = executor.submit(np.arange(len(samples)), fixed).result()
    executor.close()
    found = views([photos / key for key in samples.key_N], spec)
    assert found.shape == (6, channels, *size) and found.stride() == expected.stride()
    assert torch.equal(found, expected)
    for i, key in enumerate(samples.key_N):
        assert torch.equal(views([photos / key], spec)[0], expected[i])


def test_an_array_is_seen_as_the_same_pixels_in_a_png(photos):
    spec = DataSpec(source="folder", image_size=(32, 32), mean=(0.5,) * 3, std=(0.5,) * 3)
    pixel_HWC = np.array(Image.open(photos / "a.png"))
    assert torch.equal(views([pixel_HWC], spec), views([photos / "a.png"], spec))
    assert views([], spec).shape == (0, 3, 32, 32)


def test_pillows_settings_are_the_callers_afterwards(photos, monkeypatch):
    """Half a file is no image, whatever a program set; and threads do not mix up what is restored."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    filters = list(warnings.filters)
    spec = DataSpec(source="folder", image_size=(16, 16), mean=(0.5,), std=(0.5,), threads=4)
    paths = sorted(photos.iterdir()) * 10
    views(paths, spec)
    (photos / "half.png").write_bytes((photos / "a.png").read_bytes()[:600])
    with pytest.raises(InputError, match=r"half.png"):
        views([*paths, photos / "half.png"], spec)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True and list(warnings.filters) == filters


def test_one_image_of_pillow_may_be_given_many_times(photos):
    spec = DataSpec(source="folder", image_size=(16, 16), mean=(0.5,), std=(0.5,), threads=4)
    found = views([Image.open(photos / "a.png")] * 20 + [photos / "a.png"], spec)
    assert all(torch.equal(view, found[-1]) for view in found)
