"""A data set of files is looked at once."""

from __future__ import annotations

import pytest
from PIL import Image

from configs.errors import InputError
from data_pipes.sources import examination, file_states, folders, index_work
from data_pipes.sources.source import Source, load
from data_pipes.spec import DataSpec


@pytest.fixture
def spec(tmp_path, monkeypatch):
    monkeypatch.setenv("HEARTCUT_CACHE", str(tmp_path / "cache"))
    for split, count in (("train", 10), ("test", 3)):
        for name in "ab":
            for i in range(count):
                path = tmp_path / "set" / split / name / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (8, 6), (i, i, i)).save(path)
    root = str(tmp_path / "set")
    return DataSpec(source="folder", root=root, image_size=(8, 8), mean=(0.5,) * 3, std=(0.5,) * 3)


def counted(monkeypatch, owner, name) -> list[int]:
    real, calls = getattr(owner, name), []
    monkeypatch.setattr(owner, name, lambda *args, **kwargs: calls.append(1) or real(*args, **kwargs))
    return calls


def test_all_splits_take_one_walk_and_one_look_at_each_list(spec, monkeypatch):
    walks, looks = counted(monkeypatch, folders, "class_folders"), counted(monkeypatch, file_states, "digests")
    opened = Source(spec)
    opened.require_classes_to_tell_apart()
    splits = {split: opened.load(split) for split in opened.splits}
    assert len(walks) == 1 and len(looks) == 2  # validation is cut from train
    assert {split: len(samples) for split, samples in splits.items()} == {"train": 18, "validation": 2, "test": 6}
    for split, samples in splits.items():
        assert samples.fingerprint == load(spec, split).fingerprint
    assert len(walks) == 4  # control: each `load` of its own walks


def test_the_files_that_would_be_examined_are_published(spec, monkeypatch):
    monkeypatch.setattr(index_work, "FILES_PER_BLOCK", 4)
    opened = Source(spec)
    assert opened.publish("train") == opened.publish("validation") is not None and opened.publish("evaluation") is None
    looked_at = counted(monkeypatch, examination, "examine")
    opened.load("train")
    assert len(looked_at) == 20 and opened.publish("train") is None
    with pytest.raises(InputError, match="has no evaluation split"):
        opened.load("evaluation")
