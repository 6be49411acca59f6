"""Which code the user named, and which of it a saved network is of."""

import logging

import pytest

from configs.errors import InputError, UsageError
from models.own import registry
from models.own.registry import NotNamedError
from models.spec import ModelSpec
from train.config import TeacherConfig


def file(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return f"{path}:Net"


def test_code_that_nobody_named_is_not_found_although_it_lies_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file(tmp_path / "net.py", "")
    with pytest.raises(NotNamedError, match=r"your own code, net\.py:Net \(sha256 abc\); .*--network PATH/net\.py:Net"):
        registry.find("net.py:Net", "abc")
    with pytest.raises(NotNamedError, match=r"--network PATH/nets\.py:Net"):
        registry.find("package.nets:Net", None)


def test_code_is_found_by_its_name_as_given_and_by_its_hash(tmp_path):
    first, second = file(tmp_path / "a" / "net.py", "1"), file(tmp_path / "b" / "net.py", "2")
    one, other = registry.register((first, second))
    assert registry.find(first, None) is one and registry.find(second, None) is other
    assert registry.find("net.py:Net", one.sha256) is one and registry.find("net.py:Net", other.sha256) is other
    with pytest.raises(InputError, match=r"may be in .*a/net.py and .*b/net.py, and neither has the hash abc"):
        registry.find("net.py:Net", "abc")


def test_another_hash_is_a_warning_with_both_given_once(tmp_path, caplog):
    (one,) = registry.register(file(tmp_path / "net.py", "1"))
    with caplog.at_level(logging.WARNING):
        assert registry.find("renamed.py:Net", "abc") is one
        assert registry.find("renamed.py:Net", "abc") is one
    assert len(caplog.records) == 1
    assert one.sha256 in caplog.text and "abc" in caplog.text


def test_another_class_is_not_taken_for_it(tmp_path):
    registry.register(file(tmp_path / "net.py", "1"))
    with pytest.raises(NotNamedError):
        registry.find("net.py:Other", "abc")


def test_a_file_is_read_once_until_it_is_asked_for_again_or_forgotten(tmp_path):
    name = file(tmp_path / "net.py", "1")
    (first,) = registry.register(name)
    file(tmp_path / "net.py", "2")
    assert registry.register(name) == (first,)
    assert registry.register(name, again=True)[0].source == registry.find(name, None).source == b"2"
    file(tmp_path / "net.py", "3")
    registry.forget()
    assert registry.register(name)[0].source == b"3"


def test_names_in_a_config_and_in_its_yaml(digits_data):
    config = TeacherConfig(run_dir="r", data=digits_data, epochs=1, model=ModelSpec(name="a.py:A"), network="b.py:B")
    assert set(registry.names_in(config)) == {"a.py:A", "b.py:B"}
    nested = {"student": {"model": {"name": "a.py:A"}}, "optim": {"name": "sgd"}, "network": ["b.py:B", "c:d"]}
    assert list(registry.names_in(nested)) == ["a.py:A", "b.py:B", "c:d"]


@pytest.fixture
def digits_data():
    from data_pipes.spec import DataSpec

    return DataSpec(source="digits", image_size=(8, 8), mean=(0.5,), std=(0.5,))


def test_two_files_of_one_name_cannot_be_kept_by_one_run(tmp_path):
    found = registry.register((file(tmp_path / "a" / "net.py", "1"), file(tmp_path / "b" / "net.py", "2")))
    with pytest.raises(UsageError, match="have the same name; rename one"):
        registry.require_one_file_each(found)
    registry.require_one_file_each((*found[:1], *found[:1]))
