"""The jsonargparse parser of a config: it judges the types of single values and writes the help."""

from __future__ import annotations

import shutil
from dataclasses import MISSING
from types import NoneType
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, DefaultHelpFormatter

from configs.errors import UsageError
from configs.schema import Option, Section, accepts, attribute_docs, describe
from configs.yaml_text import BOOL, Entry, dump


class _HelpFormatter(DefaultHelpFormatter):
    """One line that reads like the field itself, `--optim.lr float = 0.1`, then what it means."""

    def __init__(self, prog: str) -> None:
        width = min(shutil.get_terminal_size().columns, 110)
        super().__init__(prog, max_help_position=8, width=width)  # type: ignore[no-untyped-call]

    def _get_help_string(self, action: Any) -> str:
        return action.help or ""


def parser(root: Section, prog: str, description: str, *, documented: bool) -> ArgumentParser:
    """Make a parser with one option per key, grouped by section. None is required: the reader says what is missing.

    documented: also look up what each key means, which reads the source files of the dataclasses.
    """
    made = ArgumentParser(
        prog=prog,
        usage=f"{prog} [--config FILE ...] [--key value ...]",
        description=description,
        formatter_class=_HelpFormatter,
        exit_on_error=False,
        allow_abbrev=False,
    )
    made.add_argument(
        "--config", metavar="FILE", help="A YAML file; repeatable. Later files win, options win over files."
    )
    made.add_argument(
        "--print_config", action="store_true", help="Print the resulting config, a valid --config, and stop."
    )
    _add_groups(made, root, "config", None, documented)
    return made


def typed(entry: Entry, option: Option, judge: ArgumentParser) -> Any:
    """Turn a value as written into the option's type. Raises UsageError naming place, key, value and what is valid."""
    for reading in entry.readings():
        if reading is None:
            if accepts(option.hint, NoneType):
                return None
            break
        if isinstance(reading, str) and accepts(option.hint, str):
            return reading  # jsonargparse would read the text Null as null
        try:
            found = judge.parse_object({option.key: reading}, defaults=False)[option.key]
        except ArgumentError:
            continue
        if _same(reading, found):
            return found
    valid = describe(option.hint)
    quotable = entry.node.tag == BOOL and accepts(option.hint, str)
    hint = f'; quote it if it is text: "{entry.shown}"' if quotable else ""
    raise UsageError(f"{entry.label} is {entry.shown}; expected {valid}{hint}")


def _same(written: Any, found: Any) -> bool:
    """Whether only containers and int to float changed: jsonargparse also reads the text no as False and 1:30 as 90."""
    if isinstance(written, list):
        return len(written) == len(found) and all(map(_same, written, found))
    if isinstance(written, dict):
        return all(map(_same, written.values(), found.values()))
    return bool(written == found)


def _add_groups(made: ArgumentParser, section: Section, title: str, text: str | None, documented: bool) -> None:
    docs = attribute_docs(section.cls) if documented else {}
    group = made.add_argument_group(title, text)
    for name, member in section.members.items():
        if isinstance(member, Option):
            group.add_argument(f"--{member.key}", type=member.hint, metavar=_metavar(member), help=docs.get(name, ""))
    for name, member in section.members.items():
        if isinstance(member, Section):
            meaning = docs.get(name) or " ".join((member.cls.__doc__ or "").split())
            unset = " null unless one of its keys is given." if member.default is None else ""
            _add_groups(made, member, member.key, meaning + unset, documented)


def _metavar(option: Option) -> str:
    if option.default is MISSING:
        return f"{describe(option.hint)} (required)"
    return f"{describe(option.hint)} = {dump(_rounded(option.default), flow=True)}"


def _rounded(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_rounded, value))
    return float(f"{value:.6g}") if isinstance(value, float) else value
