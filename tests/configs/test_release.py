from importlib import metadata

from configs.release import version


def test_the_version_is_the_installed_one(monkeypatch):
    assert version() == metadata.version("heartcut")

    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert version() == "unknown"
