"""Errors meant for the person at the keyboard, each with the exit code of its kind (BSD sysexits where one fits)."""

from __future__ import annotations


class UserError(ValueError):
    """Something the user can mend: the message names what was found and what would be right."""

    exit_code = 1


class UsageError(UserError):
    """The command line or a config file is wrong."""

    exit_code = 64


class NonFiniteError(UserError):
    """A loss or a weight became NaN or infinite."""

    exit_code = 65


class InputError(UserError):
    """Data, a teacher, a checkpoint and a config do not fit together, or one of them is damaged."""

    exit_code = 66


def require(condition: bool, key: str, value: object, valid: str) -> None:
    """Raise a UsageError that names the key, what it holds and what it must be, unless `condition`."""
    if not condition:
        raise UsageError(f"{key} is {value!r}; it must be {valid}")
