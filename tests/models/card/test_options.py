import argparse

import pytest

from configs.errors import InputError, UsageError
from models.card import options


def test_a_licence_is_an_identifier():
    parser = argparse.ArgumentParser()
    options.add_license(parser)
    assert options.require_license(parser.parse_args(["--license", "Apache-2.0"]).license) == "apache-2.0"
    assert options.require_license(None) is None
    for words in ("MIT License", "", "https://a", "mit\nx: y"):
        with pytest.raises(UsageError, match=r"--license is .*; it must be an identifier such as apache-2.0"):
            options.require_license(words)


def test_a_file_or_its_folder(tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(InputError, match=r"there is no model\.safetensors in"):
        options.weights_file(str(tmp_path))
    with pytest.raises(InputError, match="there is no file"):
        options.weights_file(str(path))
    path.write_bytes(b"")
    assert options.weights_file(str(tmp_path)) == options.weights_file(str(path)) == path
