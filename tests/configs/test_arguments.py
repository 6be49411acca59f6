"""Command lines that do not hold."""

import json
import subprocess
import sys

import pytest

from configs.arguments import Parser, command_line, last_value, take
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
