"""DALI by itself does what the executor `dali` does, apart from where random numbers come from."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from data_pipes.sources import source
from data_pipes.spec import AugmentSpec, DataSpec
from launch.bench import executors, loader
from launch.bench.config import LoaderConfig

pytest.importorskip("nvidia.dali")
EVERY = AugmentSpec(
    crop_scale=(0.5, 1.0), horizontal_flip=0.5, vertical_flip=0.5, rotation=30, affine=10, shear=5, zoom=(0.9, 1.1),
    translate=(0.1, 0.1), erase=0.5,
)  # fmt: skip
PADDED = AugmentSpec(crop_padding=3, vertical_flip=0.5)
FLIPS = AugmentSpec(crop_scale=(0.5, 1.0), horizontal_flip=0.5)
ON_PIXELS = ("Resize", "WarpAffine", "Flip", "Erase", "CropMirrorNormalize")


@pytest.fixture
def work(tmp_path, monkeypatch, request):
    """Files, each of one grey level of its own."""
    monkeypatch.setenv("HEARTCUT_CACHE", str(tmp_path / "cache"))
    for i in range(24):
        path = tmp_path / "train" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (50, 40), (10 * i,) * 3).save(path)
    spec = DataSpec(
        source="folder", root=str(tmp_path), image_size=(32, 48), mean=(0.5,) * 3, std=(0.25,) * 3, threads=1,
        augment=request.param,
    )  # fmt: skip
    return loader.make_work(LoaderConfig(data=spec, batch_size=4, images=16), source.load(spec, "train"))


def on_pixels(pipeline) -> list[str]:
    """Operators that cost time, with all arguments that are constant."""
    found = []
    for operator in pipeline._ops:
        text = str(operator.spec)
        if re.match(r"OpSpec for (\w+)", text)[1] in ON_PIXELS:
            lines = text.partition("Arguments:")[2].splitlines()
            known = [line.strip() for line in lines if not re.search("_origin|preserve|display|module|input", line)]
            found.append(text.splitlines()[0] + str(sorted(known)))
    return found


@pytest.mark.parametrize("work", [EVERY, PADDED, FLIPS, AugmentSpec()], indirect=True)
def test_the_operators_on_pixels_are_the_executors_own(work):
    random, planned = executors.dali_random(work), executors.dali_plan(work)
    planned.lap(16)
    assert on_pixels(random._pipeline) == on_pixels(planned._executor._pipeline)
    assert len(on_pixels(random._pipeline)) == 2 + {EVERY: 2, PADDED: 1, FLIPS: 1}.get(work.spec.augment, 0)
    random.close()
    planned.close()


@pytest.mark.parametrize("work", [AugmentSpec()], indirect=True)
def test_without_augmentation_a_pass_has_the_pixels_of_the_files(work):
    random = executors.dali_random(work)
    random.lap(16 - 12)  # three batches were taken to start it
    found = []
    for _ in range(4):
        random._pipeline.schedule_run()
        found.append(random._take())
    image_NCHW = torch.cat(found)
    assert image_NCHW.shape == (16, 3, 32, 48) and image_NCHW.dtype == torch.float32
    assert (image_NCHW.amax((1, 2, 3)) - image_NCHW.amin((1, 2, 3))).max() < 1e-6
    level_N = (image_NCHW[:, 0, 0, 0] * 0.25 + 0.5) * 255
    assert sorted(level_N.round().int().tolist()) == sorted(10 * int(key[8:-4]) for key in work.samples.key_N)
    random.close()


@pytest.mark.parametrize("work", [AugmentSpec(rotation=90), AugmentSpec(erase=1.0), AugmentSpec(crop_padding=9)],
                         indirect=True)  # fmt: skip
def test_each_random_operator_changes_some_pixels_and_not_all(work):
    random = executors.dali_random(work)
    random._pipeline.schedule_run()
    image_BHW = random._take().numpy()[:, 0]
    own_B11 = image_BHW[:, 16:17, 24:25]
    changed_B = (np.abs(image_BHW - own_B11) > 0.1).mean(axis=(1, 2))
    assert np.minimum(changed_B, 1 - changed_B).max() > 0.01
    random.close()


@pytest.mark.parametrize("work", [EVERY], indirect=True)
def test_laps_of_any_length_leave_nothing_in_flight(work):
    """With nothing in flight, DALI refuses to give more; the control has one batch in flight."""
    random = executors.dali_random(work)
    for images in (4, 32, 8):
        assert random.lap(images).images == images
    random._pipeline.schedule_run()
    assert random._take() is not None
    with pytest.raises(StopIteration):
        random._take()
    random.close()
