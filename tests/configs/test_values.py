"""Every type that a config field may have, with values of it and values that only look like it."""

from __future__ import annotations

from dataclasses import MISSING
from typing import Any, Literal

import pytest

from configs import yaml_text
from configs.errors import UsageError
from configs.schema import Option
from configs.values import coerce, typed
from configs.yaml_text import Entry

PAIRS = tuple[tuple[str, str], ...]


def on_the_command_line(hint, text):
    return typed(Entry("key", yaml_text.from_flag(text), raw=text), Option("key", hint, MISSING))


@pytest.mark.parametrize(
    ("hint", "found", "expected"),
    [
        (bool, True, True),
        (int, 3, 3),
        (float, 3, 3.0),
        (float, 0.5, 0.5),
        (str, "no", "no"),
        (str | None, None, None),
        (int | Literal["auto"], "auto", "auto"),
        (float | None, 2, 2.0),
        (int | str, 5, 5),
        (Literal["v4", "v6"], "v6", "v6"),
        (tuple[int, int], [1, 2], (1, 2)),
        (tuple[float, ...], [1, 0.5], (1.0, 0.5)),
        (tuple[float, ...], [], ()),
        (tuple[int, str], [1, "a"], (1, "a")),
        (PAIRS, [["a", "b"], ["c", "d"]], (("a", "b"), ("c", "d"))),
        (list[int], [1, 2], [1, 2]),
        (dict[str, float], {"a": 1}, {"a": 1.0}),
        (Any, {"a": [1]}, {"a": [1]}),
    ],
)
def test_values_of_the_type(hint, found, expected):
    value = coerce(hint, found)
    assert value == expected
    assert repr(value) == repr(expected)  # 3.0 is not 3


@pytest.mark.parametrize(
    ("hint", "found"),
    [
        (bool, 1),
        (bool, "true"),
        (int, True),
        (int, 3.0),
        (int, "3"),
        (float, True),
        (float, "0.5"),
        (float, 10**400),
        (str, 3),
        (str, None),
        (str | None, 3),
        (Literal["v4", "v6"], "v5"),
        (Literal[1], True),
        (Literal[1], 1.0),
        (tuple[int, int], [1]),
        (tuple[int, int], [1, 2, 3]),
        (tuple[int, int], [1, 2.5]),
        (tuple[int, int], "12"),
        (tuple[str, ...], "ab"),
        (PAIRS, ["a", "b"]),
        (list[int], ["1"]),
        (dict[str, float], {"a": "b"}),
        (dict[str, float], [1]),
    ],
)
def test_values_of_another_type(hint, found):
    with pytest.raises(ValueError):
        coerce(hint, found)


@pytest.mark.parametrize("hint", [complex, set[int], bytes])
def test_a_field_of_a_type_that_no_config_has_is_a_bug(hint):
    with pytest.raises(TypeError, match="a config field cannot be"):
        coerce(hint, "x")


@pytest.mark.parametrize(
    ("hint", "text", "expected"),
    [
        (str, "2024", "2024"),
        (int | str, "2024", 2024),
        (str, "1e-3", "1e-3"),
        (str, "true", "true"),
        (str, "[a", "[a"),
        (str, "{x}: y", "{x}: y"),
        (tuple[str, ...], "[a, 1, true]", ("a", "1", "true")),
        (float, "1e400", float("inf")),
    ],
)
def test_text_where_text_is_expected(hint, text, expected):
    assert on_the_command_line(hint, text) == expected


def test_a_number_too_large_for_a_float_is_refused():
    with pytest.raises(UsageError, match=r"^--key is 1{400}; expected float$"):
        on_the_command_line(float, "1" * 400)
