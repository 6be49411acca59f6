"""YAML with line numbers and one meaning per word: true and false are booleans, 1e-3 is a number, no is neither."""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from configs.errors import UsageError
from configs.files import read_regular

_PREFIX = "tag:yaml.org,2002:"
NULL, BOOL, INT, FLOAT, TEXT = (_PREFIX + name for name in ("null", "bool", "int", "float", "str"))
_PATTERNS = {
    NULL: re.compile(r"^(?:~|null|Null|NULL|None|)$"),
    BOOL: re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"),
    INT: re.compile(r"^[-+]?(?:0|[1-9][0-9]*(?:_[0-9]+)*)$"),
    FLOAT: re.compile(r"^[-+]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|\.inf)$"),
}
# YAML 1.1 reads these words as booleans, YAML 1.2 as text: they are refused unless they are quoted.
_AMBIGUOUS = {"yes", "no", "on", "off"}
STREAMS = ("/dev/fd/", "/dev/stdin")
"""Pipes that a shell makes, as of <(...), and that end."""
BRACKETS = ("[", "(", "{")
"""What lists and mappings on the command line begin with."""
LARGEST = 100_000
"""Values that a file may hold."""


class _Loader(yaml.SafeLoader):
    """Resolves scalars by the patterns above, and by none of YAML 1.1's."""


class _Dumper(yaml.SafeDumper):
    """Quotes what either YAML 1.1 or the patterns above would not read back as text."""

    def ignore_aliases(self, data: object) -> bool:
        return True


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern in _PATTERNS.items():
    _Loader.add_implicit_resolver(_tag, _pattern, None)
    _Dumper.add_implicit_resolver(_tag, _pattern, None)
for _sequence in (list, tuple):
    _Dumper.add_representer(_sequence, lambda dumper, s: dumper.represent_sequence(_PREFIX + "seq", s, flow_style=True))


@dataclass(frozen=True, slots=True)
class Entry:
    """A key and its value, from a file (where: path and line) or from the command line (where is empty)."""

    key: str
    node: yaml.Node
    where: str = ""
    raw: str | None = None
    words: tuple[str, ...] = ()
    """The words of a list on the command line: 9 19 39, or 9,19,39 as one of them."""

    @property
    def label(self) -> str:
        """Its name in messages: `configs/x.yaml, line 7: optim.lr` or `--optim.lr`."""
        return f"{self.where}: {self.key}" if self.where else f"--{self.key}"

    @property
    def shown(self) -> str:
        """The value as written."""
        if not isinstance(self.node, yaml.ScalarNode):
            return self.raw or dump(plain(self.node), flow=True)
        quote = self.node.style if self.node.style in ("'", '"') else ""
        return f"{quote}{self.node.value}{quote}" or "empty"

    def readings(self) -> list[Any]:
        """Possible values, the most likely first: 2024 is a number, or text where text is expected."""
        if self.node.tag == NULL:
            return [None]
        as_text = {INT, FLOAT} if self.where else {INT, FLOAT, BOOL}
        whole = [plain(self.node), plain(self.node, as_text)] + ([] if self.raw is None else [self.raw])
        return (whole if len(self.words) < 2 else []) + self._lists(as_text)

    def _lists(self, as_text: Set[str]) -> list[Any]:
        """What the words are as a list, and as a list of lists: a,b c,d."""
        split = [[part.strip() for part in word.strip(",").split(",")] for word in self.words]
        flat = (
            [part for parts in split for part in parts] if len(split) == 1 else [word.strip(",") for word in self.words]
        )
        readings = [[plain(from_flag(part), tags) for part in flat] for tags in (frozenset(), as_text) if split]
        return readings + [[[plain(from_flag(part), as_text) for part in parts] for parts in split]] * bool(split)


def plain(node: yaml.Node, as_text: Set[str] = frozenset()) -> Any:
    """Turn a node into Python values; scalars whose tag is in as_text stay as they were written."""
    if isinstance(node, yaml.MappingNode):
        return {key.value: plain(value, as_text) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [plain(item, as_text) for item in node.value]
    if node.tag == NULL:
        return None
    if node.tag in as_text or node.tag == TEXT:
        return node.value
    if node.tag == BOOL:
        return node.value.lower() == "true"
    return int(node.value) if node.tag == INT else float(node.value.replace(".inf", "inf"))


def load(path: str) -> yaml.MappingNode:
    """Read a file whose top level is a mapping. Raises UsageError naming file and line."""
    try:
        text = (Path(path).read_bytes() if path.startswith(STREAMS) else read_regular(Path(path))).decode()
        node = yaml.compose(text, _Loader)
        if node is not None and _values(node, {}) > LARGEST:
            raise UsageError(f"{path} holds more than {LARGEST:,} values, counting each alias as what it stands for")
    except OSError as error:
        raise UsageError(f"config file {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"config file {path} is not UTF-8 text") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UsageError(f"{path}, line {line}: the character {chr(error.character)!r} is not allowed") from error
    except yaml.MarkedYAMLError as error:
        raise UsageError(_syntax_message(path, error)) from error
    except RecursionError:
        raise UsageError(f"{path} nests lists or mappings too deep") from None
    if node is None:
        return yaml.MappingNode(_PREFIX + "map", [])
    if not isinstance(node, yaml.MappingNode):
        raise UsageError(f"{path}, line {_line(node)}: the file must hold `key: value` lines")
    _check(node, "", path)
    return node


def from_flag(text: str) -> yaml.Node:
    """Parse a command-line value: [a list], (a tuple), {a: mapping}, also as Python prints them, or a scalar."""
    if text.startswith(BRACKETS):
        flow = f"[{text[1:-1]}]" if text[0] == "(" and text[-1] == ")" else text
        with suppress(yaml.YAMLError, UsageError, RecursionError):  # otherwise it is text that begins with a bracket
            node = yaml.compose(flow, _Loader)
            if node is not None:
                _check(node, "", "")
                return node
    tag = next((tag for tag, pattern in _PATTERNS.items() if text and pattern.match(text)), TEXT)
    return yaml.ScalarNode(tag, text)


def entries(node: yaml.MappingNode, sections: set[str], path: str = "", prefix: str = "") -> Iterator[Entry]:
    """Yield the entries of a mapping, and of the sections inside it."""
    for key, value in node.value:
        dotted = prefix + key.value
        if dotted in sections and isinstance(value, yaml.MappingNode):
            yield from entries(value, sections, path, f"{dotted}.")
        else:
            yield Entry(dotted, value, f"{path}, line {_line(key)}" if path else "")


def dump(value: Any, *, flow: bool = False, ascii_only: bool = False) -> str:
    """Write plain values as YAML in their order, lists and tuples as [a, b]. ascii_only: escape other characters."""
    options: dict[str, Any] = {"sort_keys": False, "allow_unicode": not ascii_only, "default_flow_style": flow}
    text: str = yaml.dump(value, Dumper=_Dumper, width=float("inf"), **options)
    return text.removesuffix("...\n").strip() if flow else text


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _syntax_message(path: str, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 1
    problem = " ".join(part for part in (error.context, error.problem) if part)
    hint = "; YAML is indented with spaces, not tabs" if "'\\t'" in problem else ""
    return f"{path}, line {line}: not valid YAML: {problem}{hint}"


def _values(node: yaml.Node, known: dict[yaml.Node, int]) -> int:
    """Count values, those of an alias each time: a few aliases of aliases stand for billions. known: counts so far."""
    if node not in known:
        known[node] = 0  # for a node inside itself, which `_check` names
        parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        known[node] = 1 + (0 if isinstance(node, yaml.ScalarNode) else sum(_values(part, known) for part in parts))
    return known[node]


def _check(node: yaml.Node, prefix: str, path: str, parents: tuple[yaml.Node, ...] = ()) -> None:
    """Refuse YAML that a config must not hold: duplicate keys, ambiguous words, unknown tags, recursion."""
    where = f"{path}, line {_line(node)}: "
    if node in parents:
        raise UsageError(f"{where}{prefix} contains itself")
    if isinstance(node, yaml.MappingNode):
        _check_keys(node, prefix, path)
        for key, value in node.value:
            _check(value, f"{prefix}.{key.value}".lstrip("."), path, (*parents, node))
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check(item, prefix, path, (*parents, node))
    elif isinstance(node, yaml.ScalarNode):
        _check_scalar(node, f"{where}{prefix}", bool(path))


def _check_scalar(node: yaml.ScalarNode, label: str, in_file: bool) -> None:
    if node.tag not in (TEXT, *_PATTERNS):
        raise UsageError(f"{label} has the tag {node.tag}; only plain values are read")
    if node.tag in _PATTERNS and not _PATTERNS[node.tag].match(node.value):
        raise UsageError(f"{label} is {node.value}, which is not a {node.tag.removeprefix(_PREFIX)}")
    if in_file and node.style is None and node.value.lower() in _AMBIGUOUS:
        raise UsageError(
            f"{label} is {node.value}, which some YAML readers take for a boolean; "
            f'quote it if it is text: "{node.value}", or write true or false'
        )


def _check_keys(node: yaml.MappingNode, prefix: str, path: str) -> None:
    first: dict[str, int] = {}
    for key, _ in node.value:
        where = f"{path}, line {_line(key)}: "
        if not isinstance(key, yaml.ScalarNode):
            raise UsageError(f"{where}a key must be a word")
        dotted = f"{prefix}.{key.value}".lstrip(".")
        if key.value in first:
            raise UsageError(f"{where}{dotted} is a duplicate key; line {first[key.value]} has it already")
        first[key.value] = _line(key)
