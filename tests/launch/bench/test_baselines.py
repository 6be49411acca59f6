"""The usual torchvision pipelines: the images and the augmentation of the config."""

from dataclasses import replace

import pytest
import torch
from torchvision import transforms
from torchvision.transforms import v2

from bench_work import DIGITS, EVERY, PADDED, RECIPE, photo_spec, work_of
from data_pipes.spec import AugmentSpec
from launch.bench import baselines, executors

# torchvision 0.29 announces that its decoders will leave.
pytestmark = pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")


def names(augment: AugmentSpec, library) -> list[str]:
    spec = replace(DIGITS, augment=augment)
    steps = baselines.geometric(library, spec) + baselines.erasing(library, spec)
    return [type(step).__name__ for step in steps]


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
