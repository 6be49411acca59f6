"""Read a config dataclass from YAML files and the command line, and write it as YAML. Does not import torch."""

from __future__ import annotations

import codecs
import difflib
import io
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, NoReturn, TypeVar

import yaml

from configs import yaml_text
from configs.errors import ExitCode, UsageError, UserError
from configs.help_text import help_text
from configs.schema import Section, schema, takes_list
from configs.shown import printable
from configs.stopping import StoppedError
from configs.values import typed
from configs.yaml_text import NULL, Entry

T = TypeVar("T")


def read(
    cls: type[T],
    argv: Sequence[str] | None = None,
    *,
    prog: str,
    description: str,
    other_sections: bool = False,
) -> T:
    """Read a config: defaults, then each --config file in turn, then the options, wherever they stand on the line.

    Args:
        cls: A frozen dataclass; its fields and those of nested dataclasses are the keys.
        argv: The command-line arguments; None: those of this process.
        prog: The command as users type it, for help.
        description: What the command does, for help.
        other_sections: Ignore top-level keys of files that cls does not have, unless they look like a typo of one.

    Raises:
        UsageError: A key, a value or a file is wrong; the message names it and what would be right.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    root = schema(cls)
    if not {"-h", "--help"}.isdisjoint(words):
        sys.stdout.write(help_text(root, prog, description))
        raise SystemExit(0)
    flags = [(key, values) for key, values in _flags(words) if not key.startswith("_")]
    files = [_single("config", values, "FILE") for key, values in flags if key == "config"]
    entries = [entry for path in files for entry in _file_entries(path, root, other_sections)]
    for key, values in flags:
        if key != "config" and (key, values) != ("print_config", ()):
            entries += _flag_entries(key, values, root)
    config: T = _build(root, entries)
    if "--print_config" in words:
        utf8 = str(getattr(sys.stdout, "encoding", None)).lower() in ("utf-8", "utf8")
        sys.stdout.write(dump(config, ascii_only=not utf8))
        raise SystemExit(0)
    return config


def dump(config: Any, *, ascii_only: bool = False) -> str:
    """Write a config as YAML that `read` turns back into an equal object. Names that are not UTF-8 are escaped.

    ascii_only: escape everything that is not ASCII, for output in another encoding than UTF-8.
    """
    return yaml_text.dump(_nested(config), ascii_only=ascii_only)


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """Return plain values by dotted key, tuples as lists: how a run's config is logged."""
    values: dict[str, Any] = {}
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            values |= flat(value, f"{prefix}{field.name}.")
        else:
            values[prefix + field.name] = list(value) if isinstance(value, tuple) else value
    return values


def status(work: Callable[[], None]) -> int:
    """Do the work of a command; return 0, or print a user error as `command` does and return its exit code."""
    try:
        work()
    except UserError as error:
        print(printable(f"error: {error}"), file=sys.stderr)
        return error.exit_code
    return 0


def command(main: Callable[[], None]) -> NoReturn:
    """Run a command and exit: 0, the code of a UserError, ExitCode.IO after an I/O error, INTERRUPTED after Ctrl-C.

    A user error is one line on stderr; any other exception is a bug and keeps its traceback. Characters that stdout
    cannot encode are printed as question marks.
    """
    codecs.register_error("printable", _printable)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="printable")  # stderr escapes by default
    try:
        main()
        sys.stdout.flush()
    except StoppedError as stopped:
        _exit(str(stopped), stopped.exit_code)
    except UserError as error:
        _exit(f"error: {error}", error.exit_code)
    except BrokenPipeError:  # as in `command | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except UnicodeEncodeError as error:
        _exit(f"error: {_unencodable(error)}", ExitCode.USAGE)
    except OSError as error:
        named = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        _exit(f"error: {named}", ExitCode.IO)
    except KeyboardInterrupt:
        _exit("interrupted", ExitCode.INTERRUPTED)
    raise SystemExit(0)


def _printable(error: UnicodeError) -> tuple[bytes, int]:
    """Encode what the encoding of stdout lacks: file names by their bytes, other characters as question marks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = map(ord, error.object[error.start : error.end])
    return bytes(code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else ord("?") for code in lacking), error.end


def _unencodable(error: UnicodeEncodeError) -> str:
    """Message about a name with bytes that are not text, or with letters that file names cannot have here."""
    names = sys.getfilesystemencoding()
    if error.encoding not in ("utf-8", names):
        raise error
    return (
        f"{error.object!r} cannot be written as {error.encoding}; names of files and folders must be UTF-8, and here "
        f"they are {names}: set LC_ALL=C.UTF-8, or choose another name"
    )


def _exit(message: str, code: int) -> NoReturn:
    print(printable(message), file=sys.stderr)
    raise SystemExit(code)


def _flags(words: list[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Split `--key value ...`, `--key=value` into keys and their values, of which a list may have several."""
    rest = deque(words)
    while rest:
        word = rest.popleft()
        if not word.startswith("--") or word == "--":
            raise _unexpected(word)
        key, separator, value = word[2:].partition("=")
        values = [value] if separator else []
        while not separator and key != "print_config" and rest and not rest[0].startswith("--"):
            values.append(rest.popleft())
        yield key, tuple(values)


def _unexpected(word: str) -> UsageError:
    return UsageError(f"unexpected argument {word}; options are written --key value or --key=value")


def _single(key: str, values: tuple[str, ...], expected: str) -> str:
    """Return the value of an option that takes one; what begins with a bracket may hold spaces."""
    if not values:
        raise UsageError(f"--{key} needs a value; expected {expected}")
    if len(values) > 1 and not values[0].startswith(yaml_text.BRACKETS):
        raise _unexpected(values[1])
    return " ".join(values)


def _file_entries(path: str, root: Section, other_sections: bool) -> Iterator[Entry]:
    sections = {section.key for section in root.sections()}
    known = sections | {option.key for option in root.options()}
    seen: dict[str, Entry] = {}
    for entry in yaml_text.entries(yaml_text.load(path), sections, path):
        if seen.setdefault(entry.key, entry) is not entry:
            raise UsageError(f"{entry.label} is a duplicate key; {seen[entry.key].where} has it already")
        foreign = entry.key.partition(".")[0] not in root.members
        if entry.key in known:
            yield entry
        elif not (other_sections and foreign and not difflib.get_close_matches(entry.key, root.members, cutoff=0.8)):
            raise UsageError(f"{entry.where}: unknown key {entry.key}; {_suggestion(entry.key, root)}")


def _flag_entries(key: str, values: tuple[str, ...], root: Section) -> list[Entry]:
    sections = {section.key: section for section in root.sections() if section.key}
    hints = {option.key: option for option in root.options()}
    if not values and key in hints and hints[key].hint is bool:
        values = ("true",)
    if key not in sections and key not in hints:
        raise UsageError(f"unknown option --{key}; {_suggestion(key, root, '--')}")
    if key in hints and takes_list(hints[key].hint) and values and not values[0].startswith(yaml_text.BRACKETS):
        text = " ".join(values)
        return [Entry(key, yaml_text.from_flag(text), raw=text, words=values)]
    text = _single(key, values, hints[key].notation if key in hints else "{key: value}")
    node = yaml_text.from_flag(text)
    if key not in sections or not isinstance(node, yaml.MappingNode):
        return [Entry(key, node, raw=text)]
    inner = list(yaml_text.entries(node, set(sections), prefix=f"{key}."))
    for entry in inner:
        if entry.key not in hints and entry.key not in sections:
            raise UsageError(f"--{key}: unknown key {entry.key}; {_suggestion(entry.key, root)}")
    return inner


def _suggestion(key: str, root: Section, dashes: str = "") -> str:
    """Suggest a similar key, at the same level or elsewhere, or else list the keys at that level."""
    keys = [option.key for option in root.options()] + [section.key for section in root.sections() if section.key]
    parent, _, name = key.rpartition(".")
    names = {k.rpartition(".")[2]: k for k in keys}
    level = {k.rpartition(".")[2]: k for k in keys if k.rpartition(".")[0] == parent}
    for word, table, cutoff in ((name, level, 0.6), (key, dict(zip(keys, keys, strict=True)), 0.8), (name, names, 0.8)):
        if close := difflib.get_close_matches(word, table, n=1, cutoff=cutoff):
            return f"did you mean {dashes}{table[close[0]]}?"
    return f"valid here: {', '.join(dashes + k for k in (level.values() or root.members))}"


def _build(root: Section, entries: list[Entry]) -> Any:
    known = {option.key: option for option in root.options()}
    sections = {section.key: section for section in root.sections()}
    given: dict[str, Any] = {}
    origin: dict[str, Entry] = {}
    for entry in entries:
        if entry.key in sections and not _closes(entry, sections[entry.key]):
            continue
        value = typed(entry, known[entry.key]) if entry.key in known else None
        given = {key: old for key, old in given.items() if not _overlap(key, entry.key)}
        given[entry.key], origin[entry.key] = value, entry
    missing = [f"{o.key} is missing: give --{o.key} {o.notation}, or set it in a file" for o in root.missing(given)]
    if missing:
        raise UsageError("\n".join(missing))
    try:
        return root.build(given)
    except ValueError as error:
        raise UsageError(_located(str(error), origin)) from error


def _closes(entry: Entry, section: Section) -> bool:
    """Whether the entry sets an optional section to null. `data:` with nothing below it has no effect."""
    if entry.node.tag != NULL or not (section.optional or entry.where):
        example = next(section.options()).key
        raise UsageError(f"{entry.label} is {entry.shown}; expected a section with keys such as {example}")
    return section.optional


def _overlap(key: str, other: str) -> bool:
    """Whether one key is a section that holds the other."""
    return key.startswith(f"{other}.") or other.startswith(f"{key}.")


def _located(message: str, origin: dict[str, Entry]) -> str:
    """Give a message that begins with a key the whole key, and the file and line where it was set."""
    name = message.partition(" ")[0]
    found = [entry for key, entry in origin.items() if key == name or key.endswith(f".{name}")]
    if len(found) != 1:
        return message
    whole = found[0].key + message.removeprefix(name)
    return f"{found[0].where}: {whole}" if found[0].where else whole


def _nested(config: Any) -> dict[str, Any]:
    values = {field.name: getattr(config, field.name) for field in fields(config)}
    return {name: _nested(value) if is_dataclass(value) else value for name, value in values.items()}
