"""Files with networks of the user's own, by name: my_net.py:StudentNet or package.module:factory. Free of torch."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import re
from dataclasses import dataclass
from pathlib import Path

from configs.errors import UsageError

logger = logging.getLogger(__name__)
_FILE = re.compile(r"(?P<file>.+\.py):(?P<callable>[^\W\d]\w*)")
_MODULE = re.compile(r"(?P<module>[^\W\d]\w*(\.[^\W\d]\w*)*):(?P<callable>[^\W\d]\w*)")
Names = str | tuple[str, ...]
"""Networks by name, as a config gives them: one, or a list."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Code:
    """A source file as it was read, and the class or function in it that gives the network."""

    name: str
    """As an artefact records it: without folders."""
    path: Path
    """The file that was read."""
    module: str | None
    """What is imported; None: the file by itself."""
    source: bytes

    @property
    def callable(self) -> str:
        """Name of the class or function."""
        return self.name.rpartition(":")[2]

    @property
    def sha256(self) -> str:
        """SHA-256 of the file, in hexadecimal."""
        return hashlib.sha256(self.source).hexdigest()


def is_code(name: str) -> bool:
    """Whether a network's name is one of the user's own code."""
    return _FILE.fullmatch(name) is not None or _MODULE.fullmatch(name) is not None


def require_code(key: str, names: Names) -> None:
    """UsageError unless all of these names are of the user's own code."""
    for name in listed(names):
        if not is_code(name):
            raise UsageError(f"{key} is {name!r}; it must be PATH/my_net.py:StudentNet or package.module:factory")


def listed(names: Names) -> tuple[str, ...]:
    """Return one name, or several, as a tuple."""
    return (names,) if isinstance(names, str) else names


def short(name: str) -> str:
    """Return the name without folders: code/my_net.py:StudentNet is my_net.py:StudentNet."""
    found = _FILE.fullmatch(name)
    return f"{Path(found['file']).name}:{found['callable']}" if found else name


def read(name: str, *, copies: Path | None = None, prefer_copy: bool = False) -> Code:
    """Read the source of a network; nothing in it is executed, except packages above a named module.

    copies: a folder with a copy of the file, taken where the file is gone, or, with prefer_copy, in place of it.
    UsageError: there is no such file or module.
    """
    found = _FILE.fullmatch(name)
    path = Path(found["file"]) if found else _origin(name)
    copy = None if copies is None else copies / _file_name(name)
    there = path is not None and path.is_file()
    module = None if found else name.partition(":")[0]
    if copy is not None and copy.is_file() and (not there or (found and prefer_copy)):
        if not there and not prefer_copy:
            logger.warning("the file of %s is gone; its copy %s is used", name, copy)
        path, module = copy, None
    elif path is None or not there:
        raise UsageError(_missing(name, path))
    try:
        return Code(name=short(name), path=path.absolute(), module=module, source=path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error


def _file_name(name: str) -> str:
    stem = name.partition(":")[0].rpartition(".")[2]
    return Path(found["file"]).name if (found := _FILE.fullmatch(name)) else f"{stem}.py"


def _origin(name: str) -> Path | None:
    """Return the source file of a module; None: there is no such module, or it has none."""
    try:
        spec = importlib.util.find_spec(name.partition(":")[0])
    except (Exception, SystemExit) as error:  # a package above it runs
        if isinstance(error, ModuleNotFoundError):
            return None
        raise UsageError(f"{name} cannot be imported: {type(error).__name__}: {error}") from error
    origin = None if spec is None else spec.origin
    return Path(origin) if origin is not None and origin.endswith(".py") else None


def _missing(name: str, path: Path | None) -> str:
    if _FILE.fullmatch(name):
        return f"there is no file {path} for the network {name}; relative paths are looked up in {Path.cwd()}"
    module = name.partition(":")[0]
    file = module.replace(".", "/")
    return (
        f"there is no module {module} with Python source for the network {name}; install its package, or name the "
        f"file: {file}.py:{name.rpartition(':')[2]}"
    )
