"""Command lines that do not hold."""

import json
import re
import subprocess
import sys

import pytest

from configs.arguments import Items, Parser, command_line, last_value, take
from configs.errors import UsageError


def test_what_is_wrong_is_a_usage_error_that_names_the_program():
    parser = Parser(prog="python -m models.cost")
    parser.add_argument("--depth", type=int)
    with pytest.raises(UsageError, match=r"invalid int value: 'deep'; see python -m models\.cost --help"):
        parser.parse_args(["--depth", "deep"])
    assert parser.parse_args(["--depth", "8"]).depth == 8


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("", None),
        ("--run_dir", None),
        ("--run_dirs a", None),
        ("--run_dir a", "a"),
        ("x --run_dir=a=b", "a=b"),
        ("--run_dir a --run_dir=b", "b"),
        ("--run_dir=a --run_dir b --seed 1", "b"),
        ("--run_dir=", ""),
    ],
)
def test_the_last_value_of_an_option_counts(line, value):
    assert last_value(line.split(), "--run_dir") == value


@pytest.mark.parametrize(
    "line", ["9 19 39 net.pth", "9,19,39 net.pth", "[9,19,39] net.pth", "[9, 19, 39] net.pth", "9, 19, 39 net.pth"]
)
def test_a_list_of_numbers_ends_where_something_else_begins(line):
    parser = Parser(prog="p")
    parser.add_argument("--sizes", action=Items, kind=int, count=3)
    parser.add_argument("file")
    found = parser.parse_args(["--sizes", *line.split()])
    assert (found.sizes, found.file) == ([9, 19, 39], "net.pth")
    joined = parser.parse_args(["net.pth", "--sizes=9,19,39"])
    assert (joined.sizes, joined.file) == ([9, 19, 39], "net.pth")


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("--sizes 1 2", "expected 3 values, found '1 2'"),
        ("--sizes 1 2 3.5", "invalid int value: '1 2 3.5'"),
        ("--sizes", "expected one argument"),
    ],
)
def test_a_list_that_does_not_hold_is_named(line, named):
    parser = Parser(prog="p")
    parser.add_argument("--sizes", action=Items, kind=int, count=3)
    with pytest.raises(UsageError, match=re.escape(named)):
        parser.parse_args(line.split())


def test_the_whole_command_is_remembered_of_a_process_and_of_a_caller_in_python():
    assert take("train.teacher", ["--epochs", "2"]) == ["--epochs", "2"]
    assert command_line() == ["python", "-m", "train.teacher", "--epochs", "2"]
    code = (
        "from configs.arguments import command_line, take; import json, sys\n"
        "print(json.dumps([take('m', None), command_line()]))"
    )
    started = [sys.executable, "-c", code, "--seed", "1"]
    done = subprocess.run(started, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [["--seed", "1"], started]
