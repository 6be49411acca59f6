"""What a run trained on is known afterwards, whatever becomes of the folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import reference
from configs.errors import InputError
from data_pipes.sources import source
from data_pipes.spec import DataSpec
from train.run_folder import split_record


@pytest.fixture
def spec(tmp_path: Path) -> DataSpec:
    root = tmp_path / "pets"
    for seed in range(24):
        path = root / ("cat", 'd,o"g')[seed % 2] / f"{seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), reference.picture(16, 16, 1, seed=seed))
    return DataSpec(source="folder", root=str(root), image_size=(16, 16), mean=(0.4,), std=(0.3,), threads=1)


def test_every_image_is_found_by_its_content_from_a_chain_too(spec: DataSpec, tmp_path: Path) -> None:
    splits = [source.load(spec, split) for split in ("train", "validation")]
    run = tmp_path / "run" / "cut" / "cut-01"
    split_record.keep(run, splits, cut=source.is_cut(spec))
    expected = {content: one.split for one in splits for content in one.contents()}
    assert len(expected) == 24 and set(expected.values()) == {"train", "validation"}
    assert split_record.read(run) == split_record.read(tmp_path / "run") == expected
    split_record.keep(run, [source.load(replace(spec, split_seed=5), "train")], cut=True)
    assert split_record.read(run) == expected  # it is of the beginning
    assert split_record.read(tmp_path / "pets") is None


def test_a_set_that_brings_its_validation_needs_no_record(spec: DataSpec, tmp_path: Path) -> None:
    digits = DataSpec(source="digits", image_size=(8, 8), mean=(0.4,), std=(0.3,), threads=1)
    split_record.keep(tmp_path, [source.load(digits, "validation")], cut=source.is_cut(digits))
    root = Path(str(spec.root))
    (root / "train").mkdir()
    for name in ("cat", 'd,o"g'):
        (root / name).rename(root / "train" / name)
    (root / "val" / "cat").mkdir(parents=True)
    cv2.imwrite(str(root / "val" / "cat" / "1.png"), np.zeros((16, 16), np.uint8))
    split_record.keep(tmp_path, [source.load(spec, "validation")], cut=source.is_cut(spec))
    assert not (tmp_path / split_record.NAME).exists()


@pytest.mark.parametrize(
    "text", ["", "a,b\n", "split,checksum,bytes,path\ntrain,x,1,a\n", "split,checksum,bytes,path\n1\n"]
)
def test_a_damaged_record_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / split_record.NAME).write_text(text)
    with pytest.raises(InputError, match=r"split\.csv is damaged"):
        split_record.read(tmp_path)
