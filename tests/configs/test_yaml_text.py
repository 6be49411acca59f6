"""YAML with one meaning per word, read with places and written so that it is read back."""

from __future__ import annotations

import pytest
import yaml

from configs.errors import UsageError
from configs.yaml_text import Entry, dump, entries, from_flag, load, plain


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def _write(text):
        (tmp_path / "x.yaml").write_text(text, encoding="utf-8")
        return "x.yaml"

    return _write


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("1_000", 1000),
        ("010", 10.0),
        ("0x10", "0x10"),
        ("1e-3", 0.001),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        (".nan", ".nan"),
        ("1:30", "1:30"),
        ("2024-01-02", "2024-01-02"),
        ("True", True),
        ("tRUE", "tRUE"),
        ("None", None),
        ("~", None),
        ("", None),
        ("'None'", "None"),
        ("[1, a, null]", [1, "a", None]),
        ("{a: 1, 2: b}", {"a": 1, "2": "b"}),
        ("<<", "<<"),
    ],
)
def test_one_meaning_per_word(write, text, value):
    assert plain(load(write(f"key: {text}\n"))) == {"key": value}


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("true", True), ("", ""), ("a: b", "a: b"), ("(1, 2)", [1, 2]), ("{'a': 1}", {"a": 1}), ("[1", "[1")],
)
def test_values_of_the_command_line(text, value):
    assert plain(from_flag(text)) == value


def test_entries_know_their_place(write):
    found = list(entries(load(write("a: 1\nb:\n  c: 2\n  d: {e: 3}\nf: {}\n")), {"b", "f"}, "x.yaml"))
    assert [entry.label for entry in found] == ["x.yaml, line 1: a", "x.yaml, line 3: b.c", "x.yaml, line 4: b.d"]
    assert [entry.shown for entry in found] == ["1", "2", "{e: 3}"]
    assert Entry("a.b", from_flag("1"), raw="1").label == "--a.b"


@pytest.mark.parametrize(("text", "shown"), [("'3'", "'3'"), ('"a"', '"a"'), ("", "empty"), ("a", "a")])
def test_a_value_is_shown_as_written(write, text, shown):
    assert next(entries(load(write(f"key: {text}\n")), set(), "x.yaml")).shown == shown


def test_numbers_may_be_text_and_booleans_on_the_command_line_too(write):
    (entry,) = entries(load(write("key: 2024\n")), set(), "x.yaml")
    assert entry.readings() == [2024, "2024"]
    (entry,) = entries(load(write("key: true\n")), set(), "x.yaml")
    assert entry.readings() == [True, True]
    assert Entry("key", from_flag("true"), raw="true").readings() == [True, "true", "true"]
    assert Entry("key", from_flag("null"), raw="null").readings() == [None]


def test_text_that_any_reader_would_take_for_something_else_is_quoted():
    for text in ("no", "1e-3", "1:30", "None", "010", "true", "2024-01-02", "", " x"):
        written = dump({"key": text})
        assert yaml.safe_load(written) == {"key": text}
        assert written.partition(": ")[2].startswith(("'", '"'))
    assert dump({"key": "plain"}) == "key: plain\n"


def test_sequences_are_written_in_one_line_and_order_is_kept():
    assert dump({"b": (1, 2), "a": [[1], []]}) == "b: [1, 2]\na: [[1], []]\n"
    assert dump((0.1, None), flow=True) == "[0.1, null]"
    assert dump({"key": "ü"}) == "key: ü\n"
    assert dump({"key": "ü"}, ascii_only=True) == 'key: "\\xFC"\n'


def test_a_file_is_a_mapping_and_may_be_empty(write):
    assert plain(load(write("# nothing\n"))) == {}
    with pytest.raises(UsageError, match=r"^x\.yaml, line 2: the file must hold"):
        load(write("\n- a\n"))
    with pytest.raises(UsageError, match="config file gone: No such file"):
        load("gone")
