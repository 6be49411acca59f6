"""Errors meant for the person at the keyboard, and every exit code of a command (BSD sysexits where one fits)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum


class ExitCode(IntEnum):
    """What a command ends with. A signal N that kills a process is 128 + N."""

    DONE = 0
    FAILED = 1
    USAGE = 64
    NON_FINITE = 65
    INPUT = 66
    UNAVAILABLE = 69
    """A service, such as Slurm or wandb, or another process is not there, does not answer, or refuses."""
    LOCKED = 73
    IO = 74
    STOPPED = 75
    """Stopped in an orderly way: the same command goes on."""
    INTERRUPTED = 130
    """Ctrl-C."""


class UserError(ValueError):
    """Something the user can mend: the message names what was found and what would be right."""

    exit_code: ExitCode = ExitCode.FAILED


class UsageError(UserError):
    """The command line or a config file is wrong."""

    exit_code = ExitCode.USAGE


class NonFiniteError(UserError):
    """A loss or a weight became NaN or infinite."""

    exit_code = ExitCode.NON_FINITE


class InputError(UserError):
    """Data, a teacher, a checkpoint and a config do not fit together, or one of them is damaged."""

    exit_code = ExitCode.INPUT


class UnavailableError(UserError):
    """A service is not there, does not answer, or refuses."""

    exit_code = ExitCode.UNAVAILABLE


def exit_code(error: BaseException) -> ExitCode:
    """The exit code of a command that ends with this error."""
    if isinstance(error, UserError):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    return ExitCode.IO if isinstance(error, OSError) else ExitCode.FAILED


@contextmanager
def under(key: str) -> Iterator[None]:
    """Name the key of a config's section in the message of a UsageError."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{key}: {error}") from error


def require(condition: bool, key: str, value: object, valid: str) -> None:
    """Raise a UsageError that names the key, what it holds and what it must be, unless `condition`."""
    if not condition:
        raise UsageError(f"{key} is {value!r}; it must be {valid}")
