"""What --help prints: keys by section, their types, defaults and meanings."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pytest

from configs.help_text import help_text
from configs.schema import schema


@dataclass(frozen=True, kw_only=True, slots=True)
class Optim:
    """How the weights are stepped."""

    lr: float = 0.1
    """Peak learning rate; 100 % of it after warm-up, %(default)s or not."""
    betas: tuple[float, float] = (0.9, 1 / 3)


@dataclass(frozen=True, kw_only=True, slots=True)
class Teacher:
    """The network to copy."""

    path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run."""

    name: str
    """What it is called."""
    resume: str | None = None
    mode: str = "no"
    optim: Optim = field(default_factory=lambda: Optim(lr=0.2))
    """The optimizer."""
    teacher: Teacher | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LongRun(Run):
    """A run with one key more."""

    hours: int = 1
    """How long."""


def shown(cls=Run):
    return help_text(schema(cls), "python -m train.run", "Run.")


def test_the_whole_text(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert (
        shown()
        == """\
usage: python -m train.run [--config FILE ...] [--key value ...]

Run.

options:
  -h, --help
        show this help message and exit
  --config FILE
        A YAML file; repeatable. Later files win, options win over files.
  --print_config
        Print the resulting config, a valid --config, and stop.

config:
  --name text (required)
        What it is called.
  --resume text|null = null
  --mode text = 'no'

optim:
  The optimizer.

  --optim.lr float = 0.2
        Peak learning rate; 100 % of it after warm-up, %(default)s or not.
  --optim.betas [float, float] = [0.9, 0.333333]

teacher:
  The network to copy. null unless one of its keys is given.

  --teacher.path text (required)
"""
    )


def test_inherited_keys_keep_their_help():
    text = shown(LongRun)
    assert "  --name text (required)\n        What it is called.\n" in text
    assert "  --hours int = 1\n        How long.\n" in text


@pytest.mark.parametrize(("columns", "widest"), [(50, 50), (100, 100), (200, 110)])
def test_lines_follow_the_terminal_but_are_never_longer_than_110(monkeypatch, columns, widest):
    monkeypatch.setenv("COLUMNS", str(columns))
    text = help_text(schema(Run), "p", "word " * 60)
    assert widest - 10 < max(map(len, text.splitlines())) <= widest
    assert len(re.findall("word", text)) == 60
