"""Every variant on generated photographs and on digits: it runs, it does what its name says, or it says why not."""

import pytest
import torch
from PIL import Image

from bench_work import DIGITS, EVERY, PADDED, RECIPE, config, photo_spec, work_of
from configs.errors import InputError, UsageError
from data_pipes.executors import choice
from data_pipes.sources import source
from data_pipes.spec import AugmentSpec, DataSpec
from launch.bench import loader
from launch.bench.config import VARIANTS
from launch.bench.work import CPU_CANVAS, LeftOut

# torchvision 0.29 announces that its decoders will leave.
pytestmark = pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")


ON_CPU = pytest.mark.skipif(torch.accelerator.is_available(), reason="what a machine without a GPU has")


needs_dali = pytest.mark.skipif(not choice.dali_installed(), reason="NVIDIA DALI is not installed")


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
    for level, name in enumerate("abcd"):
        path = tmp_path / "train" / "x" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (level, 0, 0)).save(path)
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
