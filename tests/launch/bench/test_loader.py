"""Every variant on generated photographs and on digits: it runs, it does what its name says, or it says why not."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import v2

from configs.errors import InputError, UsageError
from data_pipes.executors import build, canvas, choice
from data_pipes.sources import source
from data_pipes.spec import AugmentSpec, DataSpec
from launch.bench import baselines, executors, loader
from launch.bench.config import VARIANTS, LoaderConfig
from launch.bench.work import CPU_CANVAS, LeftOut

# torchvision 0.29 announces that its decoders will leave.
pytestmark = pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")

EVERY = AugmentSpec(
    crop_scale=(0.5, 1.0), horizontal_flip=0.5, vertical_flip=0.5, rotation=30, affine=10, shear=5, zoom=(0.9, 1.1),
    translate=(0.1, 0.1), erase=0.5, mixup=1.0,
)  # fmt: skip
RECIPE = AugmentSpec(crop_scale=(0.7, 1.0), horizontal_flip=0.5, vertical_flip=0.5, rotation=180, affine=30)
PADDED = AugmentSpec(crop_padding=2, horizontal_flip=0.5)
ON_CPU = pytest.mark.skipif(torch.accelerator.is_available(), reason="what a machine without a GPU has")
needs_dali = pytest.mark.skipif(not choice.dali_installed(), reason="NVIDIA DALI is not installed")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEARTCUT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Twenty-four JPEG files of three classes, of several sizes and orientations."""
    root = tmp_path_factory.mktemp("photographs")
    noise = np.random.default_rng(0)
    for i in range(24):
        path = root / "train" / "abc"[i % 3] / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(noise.integers(0, 256, (5, 7, 3), dtype=np.uint8))
        small.resize((90 + 10 * (i % 3), 80)).save(path, quality=90)
    return root


def photo_spec(root, augment=EVERY, channels=3) -> DataSpec:
    shape = {"mean": (0.5, 0.4, 0.3)[:channels], "std": (0.2,) * channels, "image_size": (32, 40)}
    return DataSpec(source="folder", root=str(root), threads=2, augment=augment, **shape)


DIGITS = DataSpec(source="digits", image_size=(8, 8), mean=(0.3,), std=(0.37,), threads=1, augment=PADDED)


def config(spec: DataSpec, **changes) -> LoaderConfig:
    return LoaderConfig(data=spec, **{"batch_size": 4, "rounds": 2, "images": 16, "seconds": 0.0, **changes})


def work_of(spec: DataSpec, **changes):
    return loader.make_work(config(spec, **changes), source.load(spec, "train"))


def run(spec: DataSpec, **changes):
    return loader.run(config(spec, **changes), lambda text: None)


def test_the_names_are_those_of_the_config():
    assert list(loader.BUILDERS) == list(VARIANTS) == [n for n in VARIANTS if n in loader.NOTES]
    assert {name for goal in loader.GOALS for name in (goal.variant, *goal.against)} <= set(VARIANTS)


@ON_CPU
@needs_dali
@pytest.mark.parametrize("augment", [EVERY, RECIPE, PADDED, AugmentSpec(horizontal_flip=1.0), AugmentSpec()])
def test_every_variant_runs_on_photographs(photographs, augment):
    report = run(photo_spec(photographs, augment))
    assert report.left_out.keys() == {"dali-decode", "dali-canvas"}
    assert list(report.laps) == [name for name in VARIANTS if name not in report.left_out]
    for own in report.laps.values():
        assert [lap.images for lap in own] == [16, 16]
        assert all(lap.rate > 0 and lap.cpu_seconds >= 0 for lap in own)
    expected = [goal.name for goal in loader.GOALS if goal.variant in report.laps and "decode" not in goal.name]
    assert [r.goal.name for r in report.ratios] == [*expected[:1], "host/decode", *expected[1:]]
    assert report.figures["plan_us_per_sample"] > 0
    assert report.environment["images"] == 16 and report.environment["split_images"] > 0


@ON_CPU
def test_what_arrays_do_not_have_is_left_out_with_the_reason():
    report = run(DIGITS)
    assert list(report.laps) == ["pil-0", "pil-2", "pil-4", "tv2", "host", "resident", "resident-crop-flip-erase"]
    files = dict.fromkeys(["decode", "dali-decode", "dali-random", "dali-plan"], "data.source digits is one array of "
                          "pixels: there is nothing to decode")  # fmt: skip
    assert report.left_out == files | {"dali-canvas": CPU_CANVAS}


@pytest.mark.parametrize("name", ["dali-random", "dali-plan"])
def test_without_dali_its_variants_are_left_out_and_say_how_to_have_them(photographs, monkeypatch, name):
    monkeypatch.setattr(choice, "dali_installed", lambda: False)
    with pytest.raises(LeftOut, match="is not installed: pip install nvidia-dali-cuda120"):
        loader.BUILDERS[name](work_of(photo_spec(photographs)))


@ON_CPU
def test_if_nothing_can_run_that_is_an_error_with_the_reasons():
    with pytest.raises(UsageError, match=r"variants: none of them can run here\. decode: data\.source digits is one"):
        run(DIGITS, variants=("decode",))


def test_a_bad_file_is_an_error_and_no_reason_to_leave_a_variant_out(tmp_path):
    for name in "abcd":
        path = tmp_path / "train" / "x" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20)).save(path)
    spec = photo_spec(tmp_path)
    work = work_of(spec)
    for path in tmp_path.rglob("*.png"):
        path.unlink()
    for name in ("decode", "host", "resident"):
        with pytest.raises(InputError, match="the file is gone"):
            loader.BUILDERS[name](work).lap(16)


@pytest.mark.parametrize(("images", "batch_size", "expected"), [(1, 4, 16), (16, 4, 16), (17, 4, 32), (512, 128, 512)])
def test_images_are_equal_shares_for_four_workers_and_repeat_in_a_small_split(images, batch_size, expected):
    work = work_of(DIGITS, images=images, batch_size=batch_size)
    assert len(work.samples) == expected
    assert len(set(work.samples.key_N)) == expected
    many = work_of(DIGITS, images=3000)
    assert len(many.samples) == 3008 and set(many.samples.key_N) == set(source.load(DIGITS, "train").key_N)


def test_the_seed_chooses_the_images_and_mixing_is_left_out(photographs):
    one, same, other = (work_of(photo_spec(photographs), seed=seed) for seed in (1, 1, 2))
    assert one.samples.key_N == same.samples.key_N != other.samples.key_N
    assert not one.spec.augment.mixes and photo_spec(photographs).augment.mixes


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dataset", [baselines.PilImages, baselines.TensorImages])
def test_the_baselines_show_the_same_images_as_the_executors(photographs, dataset, channels):
    """Without augmentation there is one right answer. With a flip it would be another one."""
    spec = photo_spec(photographs, AugmentSpec(), channels)
    work = work_of(spec)
    executed = executors.Planned(work, replace(spec, executor="host"))
    rows, plan_B = next(iter(executed._batches(16)))
    ours = executed._executor.submit(rows, plan_B).result()
    executed.close()
    images, mirrored = (dataset(work.samples, replace(spec, augment=AugmentSpec(horizontal_flip=p))) for p in (0, 1))
    theirs, flipped = (torch.stack([given[int(row)] for row in rows]) for given in (images, mirrored))
    assert theirs.shape == ours.shape == (4, channels, 32, 40) and theirs.dtype == ours.dtype == torch.float32
    assert (theirs - ours).abs().max() < 0.1 < (flipped - ours).abs().mean()


def names(augment: AugmentSpec, library) -> list[str]:
    spec = replace(DIGITS, augment=augment)
    steps = baselines.geometric(library, spec) + baselines.erasing(library, spec)
    return [type(step).__name__ for step in steps]


@pytest.mark.parametrize("library", [transforms, v2])
def test_the_baselines_have_the_configs_augmentation(library):
    crop, flips = "RandomResizedCrop", ["RandomHorizontalFlip", "RandomVerticalFlip"]
    assert names(EVERY, library) == [crop, *flips, "RandomRotation", "RandomAffine", "RandomErasing"]
    assert names(RECIPE, library) == [crop, *flips, "RandomRotation", "RandomAffine"]
    assert names(PADDED, library) == ["Resize", "RandomCrop", "RandomHorizontalFlip"]
    assert names(AugmentSpec(), library) == ["Resize"]
    assert names(AugmentSpec(shear=3), library) == ["Resize", "RandomAffine"]


def test_the_ranges_are_those_of_the_config():
    rotation, affine = baselines.geometric(transforms, replace(DIGITS, augment=replace(EVERY, crop_scale=None)))[3:]
    assert rotation.degrees == [-30.0, 30.0]
    assert (affine.degrees, affine.translate) == ([-10.0, 10.0], (0.1, 0.1))
    assert (affine.scale, affine.shear) == ((0.9, 1.1), [-5.0, 5.0])


@pytest.mark.parametrize("count", [0, 7, 10, 24])
def test_a_pass_shows_every_image_before_it_shows_one_again(count):
    order = baselines.Shuffled(10)
    order.count = count
    rows = list(order)
    assert len(rows) == count
    assert all(len(set(rows[start : start + 10])) == len(rows[start : start + 10]) for start in (0, 10, 20))


def test_an_executor_is_given_every_image_of_every_pass_in_new_views():
    work = work_of(DIGITS, images=16)
    variant = executors.Planned(work, work.spec)
    given = list(variant._batches(32))
    variant.close()
    for half in (given[:4], given[4:]):
        assert sorted(np.concatenate([row_B for row_B, _ in half])) == list(range(16))
    first, second = (np.concatenate([plan_B.matrix_N23 for _, plan_B in half]) for half in (given[:4], given[4:]))
    assert not np.array_equal(first, second)


def test_canvases_of_the_bench_do_not_stay(photographs, tmp_path):
    """The control is an executor built by itself, as a run has it: it keeps its canvas."""
    cache, work = os.environ["HEARTCUT_CACHE"], work_of(photo_spec(photographs), images=canvas.KEPT_FROM)
    loader.BUILDERS["resident"](work).close()
    assert os.environ["HEARTCUT_CACHE"] == cache and not list(tmp_path.rglob("canvas-*"))
    build.build(replace(work.spec, executor="resident"), work.samples, work.device).close()
    assert list(tmp_path.rglob("canvas-*"))


def test_crop_flips_and_erasing_alone():
    assert executors.crop_flip_erase(EVERY).crop_scale == (0.5, 1.0)
    assert executors.crop_flip_erase(PADDED).crop_padding == 2
    for augment in (EVERY, PADDED, AugmentSpec()):
        plain = executors.crop_flip_erase(augment)
        assert plain.erase == plain.horizontal_flip == plain.vertical_flip == 0.5
        assert plain.crop_scale or plain.crop_padding
        assert plain == replace(AugmentSpec(), **{key: getattr(plain, key) for key in (
            "crop_scale", "crop_ratio", "crop_padding", "horizontal_flip", "vertical_flip", "erase")})  # fmt: skip
