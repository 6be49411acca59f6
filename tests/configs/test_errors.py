"""Each end of a command has one exit code."""

import pytest

from configs.errors import (
    ExitCode,
    InputError,
    NonFiniteError,
    UnavailableError,
    UsageError,
    UserError,
    exit_code,
    require,
    under,
)
from configs.locks import LockedError
from configs.stopping import StoppedError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError(), 1),
        (AssertionError(), 1),
        (UsageError(), 64),
        (NonFiniteError(), 65),
        (InputError(), 66),
        (UnavailableError(), 69),
        (LockedError(), 73),
        (OSError(), 74),
        (StoppedError(), 75),
        (KeyboardInterrupt(), 130),
    ],
)
def test_the_exit_code_of_an_error(error, code):
    assert exit_code(error) == code and f"{exit_code(error)}" == str(code)


def test_no_two_kinds_share_a_code():
    assert len({int(code) for code in ExitCode}) == len(ExitCode.__members__)


def test_require_names_key_value_and_what_is_valid():
    require(True, "steps", 1, "at least 1")
    with pytest.raises(UsageError, match=r"^steps is 'x'; it must be at least 1$"):
        require(False, "steps", "x", "at least 1")


def test_a_usage_error_names_the_section_and_others_stay_as_they_are():
    with pytest.raises(UsageError, match=r"^student: depth is 7$"), under("student"):
        raise UsageError("depth is 7")
    with pytest.raises(InputError, match=r"^damaged$"), under("student"):
        raise InputError("damaged")
