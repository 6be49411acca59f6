"""The manifest of a cache of teacher logits, and its differences from what a run needs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from configs.errors import InputError, require
from configs.files import read_regular, write_atomically
from data_pipes.logits.codec import FORMAT, Codec, DamageError

NAMED = 3
MOST = 2**31  # samples, classes
BLOCKS = 2**20  # files of a view
LONG, SHORT = 40, 12
ABSENT = object()
MAKE = "`python -m train.cache` makes one"


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Content of manifest.json. UsageError: an invalid shape."""

    identity: dict[str, Any]
    """Everything that the logits depend on, as read back from JSON."""
    samples: int
    classes: int
    codec: Codec
    rows_per_block: int

    def __post_init__(self) -> None:
        for name in ("samples", "classes", "rows_per_block"):
            number = getattr(self, name)
            require(type(number) is int and 0 < number <= MOST, name, number, f"a whole number from 1 to {MOST:,}")
        require(self.classes > self.codec.k, "classes", self.classes, f"more than the {self.codec.k} that are kept")
        even = self.rows_per_block % 2 == 0
        require(even, "rows_per_block", self.rows_per_block, "even: pairs stay together")
        blocks = -(-self.samples // self.rows_per_block)
        require(blocks <= BLOCKS, "samples", self.samples, f"at most {BLOCKS:,} blocks of rows_per_block")

    @property
    def content(self) -> dict[str, Any]:
        """Content as stored, with the key."""
        content = {"format": FORMAT, **asdict(self)}
        return {**content, "key": hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()}

    @property
    def shape(self) -> dict[str, Any]:
        """Fields that must agree besides the identity. rows_per_block may differ: it changes no logit."""
        return {"samples": self.samples, "classes": self.classes, "codec": asdict(self.codec)}


def differences(cached: Any, ours: Any, name: str = "") -> list[str]:
    """`name: the cache has A, this run has B` for each leaf that differs between JSON values; of a list, the first."""
    if isinstance(cached, dict) and isinstance(ours, dict):
        keys = [*ours, *(key for key in cached if key not in ours)]
        prefix = f"{name}." if name else ""
        pairs = [(cached.get(key, ABSENT), ours.get(key, ABSENT), f"{prefix}{key}") for key in keys]
        return [line for pair in pairs for line in differences(*pair)]
    if isinstance(cached, list) and isinstance(ours, list):
        members = enumerate(zip_longest(cached, ours, fillvalue=ABSENT))
        return next((found for i, pair in members if (found := differences(*pair, f"{name}[{i}]"))), [])
    if cached == ours and isinstance(cached, bool) == isinstance(ours, bool):
        return []
    return [f"{name}: the cache has {_shown(cached, ours)}, this run has {_shown(ours, cached)}"]


def _shown(value: Any, other: Any) -> str:
    """A readable value; long ones, such as checksums and paths, are cut to where they begin to differ."""
    if value is ABSENT:
        return "nothing"
    text = value if isinstance(value, str) else json.dumps(value)
    if len(text) > LONG:
        same = next((i for i, pair in enumerate(zip(text, str(other), strict=False)) if pair[0] != pair[1]), 0)
        start = same if same >= SHORT else 0
        text = f"{'…' * (start > 0)}{text[start : start + SHORT]}{'…' * (start + SHORT < len(text))}"
    return repr(text) if isinstance(value, str) else text


def refuse(folder: Path, found: list[str]) -> None:
    """Raise InputError if there are differences."""
    if found:
        raise InputError(
            f"{folder} holds teacher logits of something else; {'; '.join(found)}. "
            "Choose another folder, or delete this one and fill it anew with `python -m train.cache`"
        )


def read_layout(manifest: Path) -> Layout:
    """The layout of an existing cache. InputError: its manifest is missing, damaged or of another format."""
    names = ("identity", "samples", "classes", "rows_per_block")
    try:
        content = load(manifest)
        ours = content.get("format") == FORMAT
        layout = Layout(codec=Codec(**content["codec"]), **{name: content[name] for name in names}) if ours else None
        if layout and content != layout.content:
            raise DamageError("the SHA-256 in it differs")
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{manifest.parent} holds no cache of teacher logits; {MAKE}") from None
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{manifest} is damaged: {error}. Delete it and run the same `python -m train.cache` again: it is "
            "written anew, and intact blocks are kept"
        ) from error
    if layout is None:
        found = content.get("format")
        raise InputError(f"{manifest} has format {found!r} and this version reads {FORMAT}; choose another folder")
    return layout


def load(path: Path) -> dict[str, Any]:
    """The JSON object in a file. DamageError: it contains none."""
    try:
        content = json.loads(read_regular(path))
    except (ValueError, RecursionError) as error:
        raise DamageError(f"cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise DamageError(f"a {type(content).__name__} instead of a JSON object")
    return content


def as_json(identity: Mapping[str, Any]) -> dict[str, Any]:
    """The identity as read back from JSON: tuples become lists, keys strings."""
    content: dict[str, Any] = json.loads(json.dumps(identity, allow_nan=False))
    return content


def listed(items: Iterable[str], separator: str) -> str:
    """The first few items, and how many more there are."""
    named = list(items)
    more = f"{separator}and {len(named) - NAMED} more" if len(named) > NAMED else ""
    return separator.join(named[:NAMED]) + more


def put(path: Path, content: bytes | dict[str, Any]) -> None:
    """Write a file atomically. An OSError names it."""
    try:
        write_atomically(path, content if isinstance(content, bytes) else json.dumps(content, indent=1) + "\n")
    except OSError as error:
        error.filename = error.filename or str(path)  # a write that fails names no file
        raise
