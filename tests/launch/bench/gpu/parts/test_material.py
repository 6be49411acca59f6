"""Images for the parts: read as the data sets that they stand for, complete or absent, the user's where given."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageOps

from data_pipes.sources import source
from data_pipes.spec import DataSpec
from gpu_parts import small
from launch.bench.gpu.config import PartConfig
from launch.bench.gpu.parts import material


def test_photographs_are_a_data_set_in_the_layout_of_food11(tmp_path):
    found = material.photographs(small(tmp_path))
    spec = DataSpec(source="food11", root=str(found.root), image_size=(32, 32), mean=(0.5,) * 3, std=(0.2,) * 3)
    samples = source.load(spec, "train")
    assert len(samples) == material.FEW_PHOTOGRAPHS["training"] and len(samples.classes) == material.CLASSES
    assert samples.size_N2.min() >= material.FEW_SIDES[0] and samples.size_N2.max() <= material.FEW_SIDES[1]
    turned = {Image.open(path).getexif().get(0x0112) for path in (found.root / "training").iterdir()}
    assert turned == set(range(1, 9))
    assert found.words == "132 generated photographs of 60 to 100 pixels a side"


def test_arrays_are_a_data_set_in_the_layout_of_fashion_mnist(tmp_path):
    found = material.arrays(small(tmp_path))
    spec = DataSpec(source="idx", root=str(found.root), image_size=(28, 28), mean=(0.5,), std=(0.2,))
    train, test = (source.load(spec, split) for split in ("train", "test"))
    assert len(test) == material.FEW_ARRAYS["t10k"] and len(train.classes) == 10
    assert len(train) == pytest.approx(0.9 * material.FEW_ARRAYS["train"], abs=10)


def test_what_is_there_is_not_written_again_and_what_was_begun_is_not_taken(tmp_path, monkeypatch):
    config = small(tmp_path)
    monkeypatch.setattr(material.Image.Image, "save", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        material.photographs(config)
    assert not (tmp_path / "photographs").exists()
    (tmp_path / "photographs").mkdir()
    assert material.photographs(config).root == tmp_path / "photographs"


def test_the_users_data_sets_are_taken_for_measurements_alone(tmp_path):
    home = tmp_path / "home"
    for name in ("food10", "fashion_mnist"):
        (home / name).mkdir(parents=True)
    config = PartConfig(device="cuda", work=str(tmp_path / "work"), answer="a", data=str(home))
    assert material.photographs(config).root == home / "food10"
    assert material.arrays(config).root == home / "fashion_mnist"
    (tmp_path / "work").mkdir()
    assert material.arrays(replace(config, device="cpu")).root == tmp_path / "work" / "arrays"


def test_a_picture_is_another_one_when_it_is_turned_or_mirrored(tmp_path):
    picture = material.picture(64, 64, seed=1)
    for orientation in range(1, 9):
        path = tmp_path / f"{orientation}.jpg"
        material.save_turned(picture, path, orientation)
        upright = ImageOps.exif_transpose(Image.open(path))
        gap = np.abs(np.asarray(upright, np.int16) - np.asarray(picture, np.int16)).mean()
        assert (gap < 3) == (orientation == 1), (orientation, gap)
