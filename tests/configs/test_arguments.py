"""Command lines that do not hold."""

import pytest

from configs.arguments import Parser
from configs.errors import UsageError


def test_what_is_wrong_is_a_usage_error_that_names_the_program():
    parser = Parser(prog="python -m models.cost")
    parser.add_argument("--depth", type=int)
    with pytest.raises(UsageError, match=r"invalid int value: 'deep'; see python -m models\.cost --help"):
        parser.parse_args(["--depth", "deep"])
    assert parser.parse_args(["--depth", "8"]).depth == 8
