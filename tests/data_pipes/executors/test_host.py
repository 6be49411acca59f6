"""OpenCV and torch on the host against torchvision: one level at most, and almost never that. H x W pixels."""

import io
import threading
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.transforms.v2 import functional as T

import reference
from data_pipes import pixels, plan
from data_pipes.executors.host import Buffers, HostExecutor
from data_pipes.executors.render import renderings
from data_pipes.sources.images import FileImages
from data_pipes.sources.index import scan
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
    worker = HostExecutor(samples, config, torch.device("cpu"), torch.float32)
    image_BCHW = worker.submit(np.arange(len(samples)), view).result()
    worker.close()
    return pixels.levels(image_BCHW, config).numpy()


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


@pytest.fixture
def photographs(data_root):
    """32 food photographs as samples, and decoded by Pillow."""
    paths = tuple(f"training/{label}_{i}.jpg" for label in range(8) for i in range(4))
    table = scan(data_root, paths)
    empty = reference.in_memory([reference.noise(4, 4)] * 32)
    samples = replace(empty, size_N2=table.size_N2, images=table.images())
    return samples, [np.array(ImageOps.exif_transpose(Image.open(data_root / path)).convert("RGB")) for path in paths]


@pytest.mark.data("food10")
@pytest.mark.parametrize("augment", [replace(RECIPE, rotation=0, affine=0, erase=0.5), None])
def test_photographs_that_are_not_turned_are_the_reference(photographs, augment):
    """Crop, flip and erase at 224 pixels, and evaluation: mean 0.0001 levels, at most 1, measured on 32 photographs."""
    samples, images = photographs
    config, size_N2 = spec((224, 224)), samples.size_N2
    view = plan.evaluation(size_N2, 0.875, (224, 224))
    if augment:
        view = plan.training(0, 1, augment, size_N2, (224, 224))
    gap = reference.difference(carry_out(config, samples, view), rendered(config, images, view))
    assert gap.max() <= 1 and gap.mean() < 1e-3


@pytest.mark.data("food10")
def test_turned_photographs_are_near_the_reference(photographs):
    """Food-11's recipe at 224 pixels, mostly from half of the resolution: 45.8 dB, mean 0.64 levels, measured."""
    samples, images = photographs
    config = spec((224, 224))
    view = plan.training(0, 1, RECIPE, samples.size_N2, (224, 224))
    ours, expected = carry_out(config, samples, view), rendered(config, images, view)
    assert reference.psnr(ours, expected) > 45 and reference.difference(ours, expected).mean() < 0.75
    moved = replace(view, matrix_N23=view.matrix_N23 + np.array([[0, 0, 0.5], [0, 0, 0]]))
    assert reference.psnr(carry_out(config, samples, moved), expected) < 38  # control: half a pixel


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
    """Measured: 50 to 53 dB, wherever between two reduced pixels the crop begins."""
    samples, image = jpeg(tmp_path, *size_HW)
    config = spec((224, 224))
    reduced = []
    for seed in range(6):
        view = plan.training(seed, 0, replace(RECIPE, crop_scale=(0.2, 1.0)), samples.size_N2, (224, 224))
        reduced.append(renderings(view, samples.size_N2, (224, 224), encoded=True)[0].reduce)
        ours, expected = carry_out(config, samples, view), rendered(config, [image], view)
        assert reference.difference(ours, expected).mean() < 0.6 and reference.psnr(ours, expected) > 49
    assert min(reduced) > 1  # control: the reduced path was taken


def test_files_are_read_ahead_in_threads_that_do_not_render(tmp_path, monkeypatch):
    """Where a file takes milliseconds to open, as on a network file system, the cores go on."""
    for i in range(12):
        Image.fromarray(reference.noise(20, 20, 3, i)).save(tmp_path / f"{i}.png")
    table = scan(tmp_path, tuple(f"{i}.png" for i in range(12)))
    samples = replace(reference.in_memory([reference.noise(20, 20)] * 12), images=table.images())
    config, where, both, content = spec((20, 20)), set(), threading.Barrier(4), FileImages.content

    def slow(self, row):
        where.add(threading.current_thread().name.partition("_")[0])
        if row in (0, 8):
            both.wait(60)  # all four parts of two batches are being read at once, by one rendering thread
        return content(self, row)

    monkeypatch.setattr(FileImages, "content", slow)
    worker, rows = HostExecutor(samples, config, torch.device("cpu"), torch.float32), np.arange(12)
    view = plan.evaluation(samples.size_N2, 1.0, (20, 20))
    first, second = worker.submit(rows, view), worker.submit(rows, view)
    ours = pixels.levels(first.result(), config).numpy()
    assert np.array_equal(ours, np.stack([reference.noise(20, 20, 3, i) for i in range(12)]))
    assert torch.equal(first.result(), second.result()) and where == {"files"}
    worker.close()


def test_evaluation_of_a_large_image_is_almost_the_reference(tmp_path):
    samples, image = jpeg(tmp_path, 1501, 2003)
    view = plan.evaluation(samples.size_N2, 0.875, (224, 224))
    assert renderings(view, samples.size_N2, (224, 224), encoded=True)[0].reduce == 2
    ours, expected = carry_out(spec((224, 224)), samples, view), rendered(spec((224, 224)), [image], view)
    assert reference.difference(ours, expected).mean() < 0.4 and reference.psnr(ours, expected) > 52


def test_memory_of_a_batch_is_used_again_only_when_nobody_holds_it():
    buffers = Buffers()
    first = buffers.take((2, 3), torch.float32)
    place = first.data_ptr()
    assert first.shape == (2, 3) and first.dtype == torch.float32
    part = first[1:].permute(1, 0)
    del first
    assert buffers.take((2, 3), torch.float32).data_ptr() != place  # a view is still alive
    del part
    assert buffers.take((5,), torch.float16).data_ptr() == place
    larger = buffers.take((100,), torch.float32)
    assert larger.data_ptr() != place and larger.shape == (100,)


def test_results_that_are_kept_are_not_written_over():
    images = np.stack([reference.noise(28, 28, 1, seed) for seed in range(8)])
    samples, config = reference.in_memory(images), spec((28, 28), 1)
    worker = HostExecutor(samples, config, torch.device("cpu"), torch.float32)
    view = plan.evaluation(samples.size_N2, 1.0, (28, 28))
    kept = [worker.submit(np.array([i]), view.take(np.array([i]))).result()[0] for i in range(8)]
    worker.close()
    assert np.array_equal(np.stack([pixels.levels(image[None], config)[0].numpy() for image in kept]), images)


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


def test_erasing_never_writes_into_the_store():
    images = np.stack([reference.noise(16, 16, 1)])
    samples, config = reference.in_memory(images.copy()), spec((16, 16), 1)
    carry_out(config, samples, plan.training(0, 0, AugmentSpec(erase=1.0), samples.size_N2, (16, 16)))
    assert np.array_equal(samples.read(0, channels=1), images[0])
