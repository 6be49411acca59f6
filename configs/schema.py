"""The schema of a config dataclass: dotted keys, their types, defaults and help; builds the dataclass from values."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from itertools import pairwise
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

SQUARE = "square"
"""Metadata of a field with two numbers for which one may be given."""
_NAMES = {bool: "true|false", str: "text", NoneType: "null", Any: "any"}


@dataclass(frozen=True, slots=True)
class Option:
    """A key that takes a value. Without a default it must be given."""

    key: str
    hint: Any
    default: Any
    square: bool = False
    """Whether one number stands for a pair of it."""

    @property
    def notation(self) -> str:
        """Its type in help and messages."""
        return f"int|{describe(self.hint)}" if self.square else describe(self.hint)

    @property
    def required(self) -> bool:
        """Whether a value must be given."""
        return self.default is MISSING


@dataclass(frozen=True, slots=True)
class Section:
    """A nested dataclass: a group of keys. An optional one is null until one of its keys is given."""

    key: str
    cls: type
    optional: bool
    default: Any
    members: dict[str, Option | Section]

    def options(self) -> Iterator[Option]:
        """All keys that take a value, in the order of the fields."""
        for member in self.members.values():
            yield from (member,) if isinstance(member, Option) else member.options()

    def sections(self) -> Iterator[Section]:
        """This group and all groups inside it."""
        yield self
        for member in self.members.values():
            if isinstance(member, Section):
                yield from member.sections()

    def missing(self, values: Mapping[str, object]) -> Iterator[Option]:
        """Required keys without a value, of the sections that will be built."""
        if self._is_whole(values):
            return
        for member in self.members.values():
            if isinstance(member, Section):
                yield from member.missing(values)
            elif member.required and member.key not in values:
                yield member

    def build(self, values: Mapping[str, object]) -> Any:
        """Build the dataclass from values by dotted key; other keys keep their defaults."""
        if self._is_whole(values):
            return values.get(self.key, self.default)
        arguments = {
            name: member.build(values) if isinstance(member, Section) else values.get(member.key, member.default)
            for name, member in self.members.items()
        }
        return self.cls(**arguments)

    def _is_whole(self, values: Mapping[str, object]) -> bool:
        """Whether the section is one object, given or default, instead of being built from its keys."""
        touched = any(key.startswith(f"{self.key}.") for key in values)
        return self.key in values or (bool(self.key) and not touched and self.default is not MISSING)


def schema(cls: type, key: str = "", *, optional: bool = False, default: Any = MISSING) -> Section:
    """Describe a dataclass. default: an object that holds the defaults of the section's keys."""
    hints = get_type_hints(cls)
    members = {f.name: _member(f, hints[f.name], f"{key}.{f.name}".lstrip("."), default) for f in fields(cls) if f.init}
    return Section(key, cls, optional, default, members)


def _member(declared: Field[Any], hint: Any, key: str, owner: Any) -> Option | Section:
    default = declared.default if declared.default_factory is MISSING else declared.default_factory()
    if is_dataclass(owner):
        default = getattr(owner, declared.name)
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    nested = [kind for kind in kinds if isinstance(kind, type) and is_dataclass(kind)]
    if not nested:
        return Option(key, hint, default, square=bool(declared.metadata.get(SQUARE)))
    optional = NoneType in kinds
    return schema(nested[0], key, optional=optional, default=None if optional and default is MISSING else default)


def accepts(hint: Any, kind: type) -> bool:
    """Whether text (str) or null (NoneType) is a value of this type."""
    return hint in (Any, kind) or (get_origin(hint) in (Union, UnionType) and kind in get_args(hint))


def takes_list(hint: Any) -> bool:
    """Whether a list is a value of this type."""
    origin = get_origin(hint)
    return origin in (tuple, list) or (origin in (Union, UnionType) and any(map(takes_list, get_args(hint))))


def describe(hint: Any) -> str:
    """Notation of a type in help and messages: int, v4|v6, [int, int], [float, ...], text|null."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return "|".join(describe(kind) for kind in inner)
    if origin is Literal:
        return "|".join(str(value) for value in inner)
    if origin is dict:
        return f"{{key: {describe(inner[1])}}}"
    if origin is list:
        return f"[{describe(inner[0])}, ...]"
    if origin is tuple:
        return "[" + ", ".join("..." if kind is Ellipsis else describe(kind) for kind in inner) + "]"
    return _NAMES.get(hint) or str(getattr(hint, "__name__", hint))


def attribute_docs(cls: type) -> dict[str, str]:
    """The docstring under each field of a class and of its bases, by field."""
    docs: dict[str, str] = {}
    for owner in reversed([kind for kind in cls.__mro__ if is_dataclass(kind)]):
        body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        for statements in pairwise(body.body if isinstance(body, ast.ClassDef) else []):
            match statements:
                case (ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text)))):
                    docs[name] = " ".join(text.split())
    return docs
