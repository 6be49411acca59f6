"""`heartcut COMMAND` is `python -m COMMAND`."""

from __future__ import annotations

import re
import sys
from configparser import ConfigParser
from importlib.util import find_spec
from pathlib import Path

import pytest

from launch import console
from launch.commands import COMMANDS

ROOT = Path(__file__).parents[2]


def run(monkeypatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["heartcut", *words])
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit) as ended:
        console.main()
    return int(ended.value.code or 0)


def test_the_commands_are_those_of_the_readme_and_each_is_there():
    table = (ROOT / "README.md").read_text(encoding="utf-8").split("## Commands")[1].split("\n\n")[1]
    assert set(re.findall(r"^\| `([\w.]+)`", table, flags=re.MULTILINE)) <= set(console.MODULES)
    assert set(COMMANDS) <= set(console.MODULES) and all(find_spec(name) for name in console.MODULES)


def test_a_command_is_run_with_its_own_options(monkeypatch, capsys):
    assert run(monkeypatch, "train.evaluate", "--help") == 0
    shown = capsys.readouterr().out
    assert "python -m train.evaluate" in shown and "--weights" in shown
    assert run(monkeypatch, "train.evaluate", "--weights", "gone.safetensors") == 66
    assert "there is no file gone.safetensors" in capsys.readouterr().err


def test_without_a_command_all_are_listed_and_a_typo_is_understood(monkeypatch, capsys):
    for words in ([], ["--help"]):
        assert run(monkeypatch, *words) == 0
        shown = capsys.readouterr().out
        assert all(name in shown for name in console.MODULES)
    assert run(monkeypatch, "train.predit") == 64
    assert "train.predit is not a command; did you mean train.predict?" in capsys.readouterr().err


def test_it_is_installed():
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    assert config["options.entry_points"]["console_scripts"].split() == ["heartcut", "=", "launch.console:main"]
    assert config["options"]["py_modules"].split() == ["heartcut"]
