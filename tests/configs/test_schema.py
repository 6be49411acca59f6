"""What a dataclass says about its keys, and how it is built from some of them."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field
from types import NoneType
from typing import Any, Literal

import pytest

from configs.schema import accepts, attribute_docs, describe, schema


@dataclass(frozen=True, kw_only=True)
class Inner:
    """An inner section."""

    path: str
    """Where
    it is."""
    size: int = 1


@dataclass(frozen=True, kw_only=True)
class Outer:
    """The whole."""

    name: str
    inner: Inner = field(default_factory=lambda: Inner(path="a", size=2))
    maybe: Inner | None = None
    secret: int = field(default=0, init=False)


@dataclass(frozen=True, kw_only=True)
class Longer(Outer):
    """One key more."""

    steps: int = 3
    """How many."""


def test_keys_defaults_and_sections():
    root = schema(Outer)
    defaults = {option.key: option.default for option in root.options()}
    assert defaults == {"name": MISSING, "inner.path": "a", "inner.size": 2, "maybe.path": MISSING, "maybe.size": 1}
    assert [section.key for section in root.sections()] == ["", "inner", "maybe"]
    assert [option.key for option in root.options() if option.required] == ["name", "maybe.path"]


def test_building_keeps_the_defaults_of_the_owner():
    root = schema(Outer)
    assert root.build({"name": "x"}) == Outer(name="x")
    assert root.build({"name": "x", "inner.path": "b"}).inner == Inner(path="b", size=2)
    assert root.build({"name": "x", "maybe.path": "b"}).maybe == Inner(path="b", size=1)
    assert root.build({"name": "x", "maybe": None}).maybe is None


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ({}, ["name"]),
        ({"name": "x"}, []),
        ({"name": "x", "maybe.size": 2}, ["maybe.path"]),
        ({"name": "x", "maybe": None}, []),
    ],
)
def test_a_key_is_missing_only_in_a_section_that_will_be_built(values, missing):
    assert [option.key for option in schema(Outer).missing(values)] == missing


def test_docs_are_joined_and_inherited():
    assert attribute_docs(Inner) == {"path": "Where it is."}
    assert attribute_docs(Longer) == {"steps": "How many."}
    assert list(schema(Longer).members) == ["name", "inner", "maybe", "steps"]


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (bool, "true|false"),
        (int | None, "int|null"),
        (str, "text"),
        (Any, "any"),
        (Literal["v4", "v6"], "v4|v6"),
        (int | Literal["auto"], "int|auto"),
        (tuple[int, int], "[int, int]"),
        (tuple[float, ...], "[float, ...]"),
        (tuple[tuple[str, str], ...], "[[text, text], ...]"),
        (list[int], "[int, ...]"),
        (dict[str, float], "{key: float}"),
    ],
)
def test_notation_of_types(hint, text):
    assert describe(hint) == text


def test_text_and_null_among_the_values_of_a_type():
    assert [accepts(hint, str) for hint in (str, str | None, Any, int, Literal["a"])] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert [accepts(hint, NoneType) for hint in (str | None, Any, str)] == [True, True, False]
