"""The text of --help: one line per key that reads like the field itself, `--optim.lr float = 0.1`, then its meaning."""

from __future__ import annotations

import argparse
import shutil
from dataclasses import MISSING
from typing import Any

from configs.schema import Option, Section, attribute_docs
from configs.yaml_text import dump


def help_text(root: Section, prog: str, description: str) -> str:
    """Return the help of a command: one option per key, grouped by section.

    The meanings are the strings under the fields, read from the source files of the dataclasses.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        usage=f"{prog} [--config FILE ...] [--key value ...]",
        description=description,
        formatter_class=_formatter,
    )
    parser.add_argument(
        "--config", metavar="FILE", help="A YAML file; repeatable. Later files win, options win over files."
    )
    parser.add_argument(
        "--print_config", action="store_true", help="Print the resulting config, a valid --config, and stop."
    )
    _add_section(parser, root, "config", None)
    return parser.format_help()


def _formatter(prog: str) -> argparse.HelpFormatter:
    return argparse.HelpFormatter(prog, max_help_position=8, width=min(shutil.get_terminal_size().columns, 110))


def _add_section(parser: argparse.ArgumentParser, section: Section, title: str, text: str | None) -> None:
    docs = attribute_docs(section.cls)
    group = parser.add_argument_group(title, text)
    for name, member in section.members.items():
        if isinstance(member, Option):
            meaning = docs.get(name, "").replace("%", "%%")  # argparse expands %(default)s and the like
            group.add_argument(f"--{member.key}", metavar=_metavar(member), help=meaning)
    for name, member in section.members.items():
        if isinstance(member, Section):
            meaning = docs.get(name) or " ".join((member.cls.__doc__ or "").split())
            unset = " null unless one of its keys is given." if member.default is None else ""
            _add_section(parser, member, member.key, meaning + unset)


def _metavar(option: Option) -> str:
    if option.default is MISSING:
        return f"{option.notation} (required)"
    return f"{option.notation} = {dump(_rounded(option.default), flow=True)}"


def _rounded(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_rounded, value))
    return float(f"{value:.6g}") if isinstance(value, float) else value
