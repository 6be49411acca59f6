"""One value, as somebody wrote it, to the type of its key. Strict: only containers and int to float are converted."""

from __future__ import annotations

from contextlib import suppress
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from configs.errors import UsageError
from configs.schema import Option, accepts
from configs.yaml_text import BOOL, Entry


def typed(entry: Entry, option: Option) -> Any:
    """Turn an entry into the type of its option. UsageError: none of its readings is of that type."""
    for reading in entry.readings():
        with suppress(ValueError):
            return coerce(option.hint, [reading] * 2 if option.square and type(reading) is int else reading)
    quotable = entry.node.tag == BOOL and accepts(option.hint, str)
    hint = f'; quote it if it is text: "{entry.shown}"' if quotable else ""
    raise UsageError(f"{entry.label} is {entry.shown}; expected {option.notation}{hint}")


def coerce(hint: Any, found: Any) -> Any:
    """Return a plain YAML value as `hint`: an int also as float, a list as tuple.

    ValueError: the value is of another type. TypeError: configs cannot have fields of type `hint`.
    """
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return found
    if origin in (Union, UnionType):
        return _first_that_fits(inner, found)
    if origin is Literal:
        return _require(any(type(found) is type(word) and found == word for word in inner), found)
    if origin in (tuple, list):
        return origin(_items(inner, _require(isinstance(found, list), found), fixed=origin is tuple))
    if origin is dict:
        return {key: coerce(inner[1], item) for key, item in _require(isinstance(found, dict), found).items()}
    if hint is float and type(found) is int:
        return _as_float(found)
    if hint not in (bool, int, float, str, NoneType):
        raise TypeError(f"a config field cannot be {hint}")
    return _require(type(found) is hint, found)  # not isinstance: True is an int


def _first_that_fits(hints: tuple[Any, ...], found: Any) -> Any:
    for hint in hints:
        try:
            return coerce(hint, found)
        except ValueError:
            continue
    raise ValueError(found)


def _items(hints: tuple[Any, ...], found: list[Any], *, fixed: bool) -> list[Any]:
    if not fixed or Ellipsis in hints:
        hints = (hints[0],) * len(found)
    return [coerce(hint, item) for hint, item in zip(hints, found, strict=True)]


def _as_float(found: int) -> float:
    try:
        return float(found)
    except OverflowError as error:
        raise ValueError(found) from error


def _require(fits: bool, found: Any) -> Any:
    if not fits:
        raise ValueError(found)
    return found
