"""Splits decoded once. N images, H x W pixels, C channels."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as T

import reference
from data_pipes import canvas
from data_pipes.images import FileImages
from data_pipes.index import scan
from data_pipes.spec import DataSpec


def spec(size_HW=(28, 28), channels=1, **changes) -> DataSpec:
    shape = {"mean": (0.4,) * channels, "std": (0.2,) * channels, "threads": 2}
    return DataSpec(source="digits", image_size=size_HW, **{**shape, **changes})


@pytest.mark.parametrize("side_HW", [(28, 28), (64, 64), (20, 50)])
def test_small_images_of_one_size_are_kept_exactly(side_HW):
    images = np.stack([reference.noise(*side_HW, 1, seed) for seed in range(9)])
    samples = reference.in_memory(images)
    assert canvas.canvas_size(spec(side_HW), samples) == side_HW
    assert np.array_equal(canvas.decode(spec(side_HW), samples, np.arange(len(samples))).numpy(), images)
    rgb = canvas.decode(spec(side_HW, channels=3), samples, np.arange(len(samples))).numpy()
    assert rgb.shape == (9, *side_HW, 3) and np.array_equal(rgb, np.repeat(images, 3, axis=3))


def test_rows_of_a_selection_come_in_its_order():
    images = np.stack([reference.noise(8, 8, 1, seed) for seed in range(9)])
    chosen = reference.in_memory(images).select(np.array([7, 0, 3]))
    assert np.array_equal(canvas.decode(spec(), chosen, np.arange(len(chosen))).numpy(), images[[7, 0, 3]])


@pytest.mark.parametrize(("scale", "expected"), [(1.14, (255, 182)), (1.5, (336, 240)), (1.0, (224, 160))])
def test_photographs_are_squashed_to_a_little_over_the_output(scale, expected):
    large = reference.in_memory([reference.picture(300, 400), reference.picture(500, 200)])
    assert canvas.canvas_size(spec((224, 160), canvas_scale=scale), large) == expected


def test_images_of_different_sizes_or_over_64_pixels_are_squashed():
    assert canvas.canvas_size(spec((20, 20)), reference.in_memory([reference.noise(65, 65)] * 2)) == (23, 23)
    mixed = reference.in_memory([reference.noise(28, 28), reference.noise(28, 27)])
    assert canvas.canvas_size(spec((20, 20)), mixed) == (23, 23)


def test_squashing_is_torchvisions_resize():
    images = [reference.picture(90, 120, 3, 0), reference.picture(200, 70, 3, 1), reference.picture(15, 15, 3, 2)]
    squashed = canvas.decode(spec((40, 30), channels=3), reference.in_memory(images), np.arange(len(images))).numpy()
    assert squashed.shape == (3, 46, 34, 3)
    for image, ours in zip(images, squashed, strict=True):
        theirs = T.resize(torch.from_numpy(image).permute(2, 0, 1), [46, 34], antialias=True).permute(1, 2, 0).numpy()
        assert np.array_equal(ours, theirs)


def test_large_files_are_decoded_at_a_reduced_scale_with_little_loss(tmp_path, monkeypatch):
    monkeypatch.setenv("HEARTCUT_CACHE", str(tmp_path / "cache"))
    stream = io.BytesIO()
    Image.fromarray(reference.picture(600, 900)).save(stream, "JPEG", quality=95)
    (tmp_path / "0.jpg").write_bytes(stream.getvalue())
    table = scan(tmp_path, ("0.jpg",))
    samples = replace(reference.in_memory([reference.noise(600, 900)]), size_N2=table.size_N2, images=table.images())
    asked, whole, read = [], samples.read(0, channels=3), FileImages.read

    def watched(self, row, *, channels, reduce=1):
        asked.append(reduce)
        return read(self, row, channels=channels, reduce=reduce)

    monkeypatch.setattr(FileImages, "read", watched)
    ours = canvas.decode(spec((64, 64), channels=3), samples, np.arange(1)).numpy()[0]
    theirs = T.resize(torch.from_numpy(whole).permute(2, 0, 1), [73, 73], antialias=True).permute(1, 2, 0).numpy()
    assert asked == [4] and reference.psnr(ours, theirs) > 45
