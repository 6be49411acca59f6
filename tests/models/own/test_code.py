"""Names of the user's own code, and the files that they name."""

import hashlib
import logging
import sys

import pytest

from configs.errors import UsageError
from models.own import code


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("my_net.py:StudentNet", True),
        ("/some where/my-net.py:make", True),
        ("package.module:factory", True),
        ("module:Net", True),
        ("resnet_small", False),
        ("timm/convnext_atto.d2_in1k", False),
        ("hf-hub:timm/resnet18.a1_in1k", False),
        ("timm/hf_hub:someone/net", False),
        ("model.safetensors", False),
        ("my_net.py", False),
        ("my_net.py:", False),
        ("my_net.py:9lives", False),
    ],
)
def test_which_names_are_of_own_code(name, is_one):
    assert code.is_code(name) is is_one


def test_a_name_that_is_none_is_refused_with_what_would_be_right():
    code.require_code("network", ("a.py:A", "b.c:d"))
    with pytest.raises(UsageError, match=r"network is 'a\.py'; it must be PATH/my_net\.py:StudentNet"):
        code.require_code("network", ("b.c:d", "a.py"))


def test_an_artefact_records_no_folders():
    assert code.short("/home/me/my_net.py:Net") == "my_net.py:Net"
    assert code.short("package.module:factory") == "package.module:factory"


def test_reading_executes_nothing(tmp_path):
    path = tmp_path / "net.py"
    path.write_text("raise SystemExit('executed')\n")
    found = code.read(f"{path}:Net")
    assert (found.name, found.callable, found.path, found.module) == ("net.py:Net", "Net", path, None)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_module_is_found_where_python_finds_it(tmp_path, monkeypatch):
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "__init__.py").write_text("")
    (tmp_path / "own_package" / "nets.py").write_text("raise SystemExit('executed')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = code.read("own_package.nets:make")
    assert (found.module, found.path) == ("own_package.nets", tmp_path / "own_package" / "nets.py")
    sys.modules.pop("own_package")


def test_a_file_that_is_gone_is_taken_from_its_copy(tmp_path, caplog):
    (tmp_path / "net.py").write_text("copy\n")
    with caplog.at_level(logging.WARNING):
        found = code.read("elsewhere/net.py:Net", copies=tmp_path)
    assert found.source == b"copy\n" and "elsewhere/net.py:Net is gone" in caplog.text
    assert code.read("no.such.net:Net", copies=tmp_path).source == b"copy\n"


def test_the_copy_comes_first_only_where_it_is_preferred(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text("new\n")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "net.py").write_text("old\n")
    assert code.read("net.py:Net", copies=tmp_path / "run").source == b"new\n"
    assert code.read("net.py:Net", copies=tmp_path / "run", prefer_copy=True).source == b"old\n"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("net.py:Net", r"there is no file net\.py for the network net\.py:Net; relative paths are looked up in"),
        ("no.such:Net", r"no module no\.such .* or name the file: no/such\.py:Net"),
        ("math:sin", "no module math with Python source"),
    ],
)
def test_what_is_missing_is_named(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        code.read(name)
