"""The generated data set is one that every command reads."""

from data_pipes.sources.source import Source
from launch.bench.scale import generated, work


def test_it_has_as_many_sound_images_in_as_many_classes(tmp_path, monkeypatch):
    monkeypatch.setenv("HEARTCUT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(generated, "IMAGES_OF_ONE_FILE", 10)
    generated.make(tmp_path / "set", 100, 4)
    train = Source(work.spec_of(tmp_path / "set")).load("train")
    assert len(train.classes) == 4 and len(train.images) == 100
    assert len(set(train.images.crc_N.tolist())) == 10
    generated.add(tmp_path / "set", 5, 4, 100)
    assert len(Source(work.spec_of(tmp_path / "set")).load("train").images) == 105
