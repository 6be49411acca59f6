"""Files of ours that somebody edited, copied or cut short."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from configs import records
from configs.errors import InputError


@dataclass(frozen=True)
class Entry:
    cut: int
    after: float
    names: tuple[str, ...]


WHOLE = '{"cut": 1, "after": 1, "names": ["a"]}'
BOMB = "a: &a [x, x]\n" + "\n".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


def read(path: Path) -> Entry:
    return records.record(Entry, path, records.from_json(path))


def test_what_is_whole_is_a_dataclass(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(WHOLE)
    assert read(tmp_path / "a.json") == Entry(1, 1.0, ("a",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (WHOLE[:-5], "is damaged: it is not JSON"),
        ("", "is damaged: it is not JSON"),
        ("[" * 100_000, "is damaged: it is not JSON"),
        ("\xff", "is damaged: it is not JSON"),
        ("[]", "is damaged: it holds list where a mapping of keys is right"),
        ("null", "is damaged: it holds NoneType where"),
        (WHOLE.replace('"cut": 1, ', ""), "is damaged: it has no cut"),
        (WHOLE.replace('"cut": 1', '"cut": "1"'), "is damaged: cut is '1'; .*int.* is right"),
        (WHOLE.replace('"cut": 1', '"cut": true'), "is damaged: cut is True"),
        (WHOLE.replace('["a"]', "[1]"), r"is damaged: names is \[1\]"),
        (WHOLE.replace("}", ', "more": 1}'), "is damaged: nothing is known of 'more'"),
    ],
)
def test_what_is_not_is_named_in_one_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=f"^{path} {message}") as refused:
        read(path)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_or_is_a_folder(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(InputError, match=f"{path} cannot be read: {why}"):
            records.from_json(path)
        with pytest.raises(InputError, match=f"{path} cannot be read: .*{why}"):
            records.from_yaml(path)


def test_keys_that_are_not_asked_for_stay(tmp_path: Path) -> None:
    found = {"accuracy": 1, "more": [1, {"b": None}]}
    assert records.typed(tmp_path, found, {"accuracy": float}) == found


@pytest.mark.parametrize(
    "content", ["a: [1", "a: 1\na: 2", "- 1", "a: !!python/name:os.system", BOMB, "a: " + "[" * 9999]
)
def test_yaml_that_is_no_mapping_of_plain_values(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=f"{path} cannot be read: ") as refused:
        records.from_yaml(path)
    assert "\n" not in str(refused.value)


def test_yaml_of_ours(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("a: {b: 1e-3, c: null, d: [x, true]}\n")
    assert records.from_yaml(tmp_path / "config.yaml") == {"a": {"b": 0.001, "c": None, "d": ["x", True]}}
