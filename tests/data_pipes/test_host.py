"""OpenCV and torch on the host against torchvision: one level at most, and almost never that. H x W pixels."""

import io
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torchvision.transforms.v2 import functional as T

import reference
from data_pipes import host, plan
from data_pipes.host import HostExecutor
from data_pipes.index import scan
from data_pipes.spec import AugmentSpec, DataSpec

EVERY = AugmentSpec(
    crop_scale=(0.3, 1.0), horizontal_flip=0.5, vertical_flip=0.5, rotation=30, affine=20, shear=10, zoom=(0.8, 1.2),
    translate=(0.1, 0.1), erase=0.5,
)  # fmt: skip
RECIPE = AugmentSpec(crop_scale=(0.7, 1.0), horizontal_flip=0.5, vertical_flip=0.5, rotation=180, affine=30)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("HEARTCUT_CACHE", str(tmp_path_factory.mktemp("cache")))


def spec(size_HW, channels=3, **changes) -> DataSpec:
    shape = {"mean": (0.485, 0.456, 0.406)[:channels], "std": (0.2,) * channels, "threads": 1}
    return DataSpec(source="digits", executor="host", image_size=size_HW, **{**shape, **changes})


def carry_out(config, samples, view) -> np.ndarray:
    worker = HostExecutor(samples, config, pin=False)
    image_BHWC = worker.submit(np.arange(len(samples)), view).result().numpy()
    worker.close()
    return image_BHWC


def rendered(config, images, view) -> np.ndarray:
    rows = np.arange(len(images))
    fill = np.array(config.fill_colour, dtype=np.uint8)
    return np.stack([reference.render(images[i], view.take(rows[i : i + 1]), config.image_size, fill) for i in rows])


SHAPES = [
    ((64, 64), (64, 64)),
    ((101, 77), (40, 33)),
    ((40, 33), (63, 50)),
    ((300, 200), (64, 64)),
    ((9, 150), (31, 8)),
]


@pytest.mark.parametrize("make", [reference.noise, reference.picture])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("source_HW", "output_HW"), SHAPES)
def test_host_is_the_reference(make, channels, source_HW, output_HW):
    """At most one level, on at most one value in a thousand (measured: one in ten thousand)."""
    images = [make(*source_HW, channels, seed) for seed in range(16)]
    samples, config = reference.in_memory(images), spec(output_HW, channels)
    view = plan.training(0, 1, EVERY, samples.size_N2, output_HW)
    ours, expected = carry_out(config, samples, view), rendered(config, images, view)
    gap = reference.difference(ours, expected)
    assert gap.max() <= 1 and gap.mean() < 1e-3
    # Control: a view that is a fiftieth of a pixel off is told apart, on noise.
    if make is reference.noise and source_HW[0] > 9:
        moved = replace(view, matrix_N23=view.matrix_N23 + np.array([[0, 0, 0.02], [0, 0, 0]]))
        assert reference.difference(carry_out(config, samples, moved), expected).mean() > 0.02


def test_images_of_many_sizes_in_one_batch():
    images = [reference.picture(30 + 17 * i, 140 - 11 * i, 3, i) for i in range(10)]
    samples, config = reference.in_memory(images), spec((37, 41))
    view = plan.training(0, 0, EVERY, samples.size_N2, (37, 41))
    gap = reference.difference(carry_out(config, samples, view), rendered(config, images, view))
    assert gap.max() <= 1 and gap.mean() < 1e-3


@pytest.mark.data("food10")
def test_photographs_are_the_reference(data_root):
    """Food-11's recipe at 224 pixels, decoded by Pillow: mean 0.0001 levels, at most 1, measured on 32 photographs."""
    paths = tuple(f"training/{label}_{i}.jpg" for label in range(8) for i in range(4))
    table = scan(data_root, paths)
    empty = reference.in_memory([reference.noise(4, 4)] * 32)
    samples = replace(empty, size_N2=table.size_N2, images=table.images())
    images = [np.array(ImageOps.exif_transpose(Image.open(data_root / path)).convert("RGB")) for path in paths]
    config = spec((224, 224))
    for view in (
        plan.training(0, 1, RECIPE, samples.size_N2, (224, 224)),
        plan.evaluation(samples.size_N2, 0.875, (224, 224)),
    ):
        gap = reference.difference(carry_out(config, samples, view), rendered(config, images, view))
        assert gap.max() <= 1 and gap.mean() < 1e-3


def jpeg(folder, height, width):
    """One large photograph-like JPEG as a sample, and its pixels at full size."""
    image = cv2.resize(reference.picture(height // 4, width // 4), (width, height), interpolation=cv2.INTER_CUBIC)
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=95)
    (folder / "large.jpg").write_bytes(stream.getvalue())
    table = scan(folder, ("large.jpg",))
    samples = replace(reference.in_memory([image]), size_N2=table.size_N2, images=table.images())
    return samples, samples.read(0, channels=3)


@pytest.mark.parametrize("size_HW", [(2000, 2000), (1501, 2003)])
def test_decoding_at_a_reduced_scale_costs_little(tmp_path, size_HW):
    """Measured: 57 dB where the crop's corner is a whole reduced pixel, else 40 to 50 dB: the shift of its rounding."""
    samples, image = jpeg(tmp_path, *size_HW)
    config = spec((224, 224))
    reduced = 0
    for seed in range(6):
        view = plan.training(seed, 0, replace(RECIPE, crop_scale=(0.2, 1.0)), samples.size_N2, (224, 224))
        reduced += host.reduction(tuple(view.crop_N4[0, 2:].tolist()), (224, 224)) > 1
        ours, expected = carry_out(config, samples, view), rendered(config, [image], view)
        assert reference.difference(ours, expected).mean() < 2.1 and reference.psnr(ours, expected) > 39.5
    assert reduced == 6  # control: the reduced path was taken


def test_a_reduced_crop_that_needs_no_rounding_is_almost_the_reference(tmp_path):
    samples, image = jpeg(tmp_path, 2000, 2000)
    view = plan.evaluation(samples.size_N2, 1.0, (224, 224))
    assert host.reduction((2000, 2000), (224, 224)) == 4
    ours, expected = carry_out(spec((224, 224)), samples, view), rendered(spec((224, 224)), [image], view)
    assert reference.difference(ours, expected).mean() < 0.4 and reference.psnr(ours, expected) > 52


def test_the_reduction_leaves_twice_the_outputs_resolution():
    expected = {223: 1, 448: 1, 895: 1, 896: 2, 1791: 2, 1792: 4, 3583: 4, 3584: 8, 9999: 8}
    assert {side: host.reduction((side, side), (224, 224)) for side in expected} == expected
    assert host.reduction((4000, 900), (224, 224)) == 2


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_cut_from_a_reduced_image_is_never_empty_and_lies_where_it_should(data):
    height, width = data.draw(st.integers(16, 3000)), data.draw(st.integers(16, 3000))
    out = (data.draw(st.integers(1, 64)), data.draw(st.integers(1, 64)))
    h, w = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    y, x = data.draw(st.integers(0, height - h)), data.draw(st.integers(0, width - w))
    r = host.reduction((h, w), out)
    small_HW = (-(-height // r), -(-width // r))
    index = np.stack(np.meshgrid(np.arange(small_HW[0]), np.arange(small_HW[1]), indexing="ij"), axis=-1)
    crop = host.cut(index, (y, x, h, w), (height, width))
    assert crop.shape[0] >= 1 and crop.shape[1] >= 1
    if r == 1:
        assert crop.shape[:2] == (h, w) and crop[0, 0].tolist() == [y, x]
    else:  # within half a reduced pixel of either edge, in output pixels under a quarter
        top, bottom = crop[0, 0, 0], crop[-1, 0, 0] + 1
        assert abs(top * height / small_HW[0] - y) * out[0] / h <= 0.251
        assert abs(bottom * height / small_HW[0] - (y + h)) * out[0] / h <= 0.51


def test_resize_is_torchvisions():
    image = reference.noise(61, 47)
    expected = T.resize(torch.from_numpy(image).permute(2, 0, 1), [20, 33], antialias=True).permute(1, 2, 0).numpy()
    assert np.array_equal(host.resize(image, (20, 33)), expected)
    assert host.resize(image, (61, 47)) is image


@pytest.mark.parametrize("channels", [1, 3])
def test_evaluation_is_resize_and_centre_crop(channels):
    images = [reference.picture(256, 256, channels, i) for i in range(3)]
    samples, config = reference.in_memory(images), spec((56, 56), channels)
    ours = carry_out(config, samples, plan.evaluation(samples.size_N2, 0.875, (56, 56)))
    for image, view in zip(images, ours, strict=True):
        small = T.resize(torch.from_numpy(image).permute(2, 0, 1), [64, 64], antialias=True)
        expected = T.center_crop(small, [56, 56]).permute(1, 2, 0).numpy()
        # Crop, then resize: only the outermost pixels, whose filter reached over the crop's edge, may differ more.
        assert reference.difference(view, expected)[1:-1, 1:-1].max() <= 1
        assert reference.difference(view, expected).mean() < 0.2


def test_warp_is_black_outside_and_leaves_its_input_alone():
    image = np.full((8, 8, 1), 200, np.uint8)
    moved = host.warp(image, np.array([[1.0, 0, 3], [0, 1, 0]]))
    assert (moved[:, :5] == 200).all() and (moved[:, 5:] == 0).all() and (image == 200).all()
    half = host.warp(image, np.array([[1.0, 0, 3.5], [0, 1, 0]]))
    assert (half[:, 4] == 100).all()


def test_erasing_never_writes_into_the_store():
    images = np.stack([reference.noise(16, 16, 1)])
    samples, config = reference.in_memory(images.copy()), spec((16, 16), 1)
    carry_out(config, samples, plan.training(0, 0, AugmentSpec(erase=1.0), samples.size_N2, (16, 16)))
    assert np.array_equal(samples.read(0, channels=1), images[0])
