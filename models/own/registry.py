"""The code that the user named on the command line or in a config. Nothing else is ever executed. Free of torch.

An artefact only records which code its network is of; loading looks the code up here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from configs.errors import InputError, UsageError
from models.own import code
from models.own.code import Code, Names

logger = logging.getLogger(__name__)
_named: dict[str, Code] = {}
_warned: set[tuple[str, str]] = set()


class NotNamedError(InputError):
    """A file holds a network of the user's own code, and the user has not named the code."""


def register(
    names: Names, *, copies: Path | None = None, prefer_copy: bool = False, again: bool = False
) -> tuple[Code, ...]:
    """Read code that the user named, once, so that networks of it can be built and loaded.

    copies: a run folder with copies of the files, as `code.read` takes them. again: read also what was read before, for
    a notebook, beside which files are edited. UsageError: as there.
    """
    found = []
    for name in code.listed(names):
        if again or name not in _named:
            code.require_code("network", name)
            _named[name] = code.read(name, copies=copies, prefer_copy=prefer_copy)
        found.append(_named[name])
    return tuple(found)


def forget() -> None:
    """Forget all code: each command names its own."""
    _named.clear()
    _warned.clear()


def names_in(config: Any) -> Iterator[str]:
    """Yield the names of own code in a config, or in plain values as its YAML file holds them, sections included.

    They are names of networks (name) and what a config names for saved files (network).
    """
    for key, value in _items(config):
        if key == "network" and isinstance(value, str | tuple | list):
            yield from (name for name in code.listed(value if isinstance(value, str) else tuple(value)))
        elif key == "name" and isinstance(value, str) and code.is_code(value):
            yield value
        else:
            yield from names_in(value)


def find(name: str, sha256: str | None) -> Code:
    """Return the code of a network: as the user named it, or by the name and the hash that an artefact records.

    Code of the same name with another hash is returned with a warning: the tensors decide whether it fits.
    NotNamedError: the user has not named it.
    """
    if sha256 is None and name in _named:
        return _named[name]
    alike = [known for known in _named.values() if known.callable == name.rpartition(":")[2]]
    for fits in (lambda known: known.sha256 == sha256, lambda known: known.name == name, lambda known: True):
        if fitting := {known.sha256: known for known in alike if fits(known)}:
            break
    else:
        hashed = f" (sha256 {sha256})" if sha256 else ""
        raise NotNamedError(
            f"holds a network of your own code, {name}{hashed}; name the file: --network PATH/{_as_file(name)}"
        )
    if len(fitting) > 1:
        paths = " and ".join(str(known.path) for known in fitting.values())
        raise InputError(f"{name} may be in {paths}, and neither has the hash {sha256}; name only one of them")
    found = next(iter(fitting.values()))
    if sha256 not in (None, found.sha256) and (found.sha256, str(sha256)) not in _warned:
        _warned.add((found.sha256, str(sha256)))
        logger.warning(
            "%s is not the file that this network was saved with: its sha256 is %s, and was %s",
            *(found.path, found.sha256, sha256),
        )
    return found


def _as_file(name: str) -> str:
    module, _, called = name.partition(":")
    return name if module.endswith(".py") else f"{module.rpartition('.')[2]}.py:{called}"


def _items(config: Any) -> Iterator[tuple[str, Any]]:
    if is_dataclass(config):
        yield from ((field.name, getattr(config, field.name)) for field in fields(config))
    elif isinstance(config, Mapping):
        yield from ((str(key), value) for key, value in config.items())


def require_one_file_each(found: tuple[Code, ...]) -> None:
    """UsageError if two different files have one name, so that a run folder could not hold both."""
    by_name: dict[str, Code] = {}
    for one in found:
        other = by_name.setdefault(one.path.name, one)
        if other.source != one.source:
            raise UsageError(f"{one.path} and {other.path} have the same name; rename one, a run keeps a copy of both")
