"""Command lines that do not hold."""

import pytest

from configs.arguments import Parser, last_value
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
