"""Exclusive use of a folder by one process, with a lock that the kernel releases however the process ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from configs.errors import ExitCode, UserError

NAME = "lock"


class LockedError(UserError):
    """Another process holds the lock of a folder."""

    exit_code = ExitCode.LOCKED


@contextmanager
def alone(folder: Path, refusal: Callable[[], str]) -> Iterator[None]:
    """Create the folder and hold its lock; without effect on file systems that have no locks.

    LockedError, with the text of `refusal`: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / NAME).open("ab") as file:
        try:
            import fcntl  # Windows has none

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(refusal()) from None
        except (ImportError, OSError):  # or a file system without locks
            pass
        yield


def held(folder: Path) -> bool | None:
    """Whether a process holds the lock of a folder; None where this is unknown, or there never was a lock."""
    try:
        import fcntl

        with (folder / NAME).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # closing releases it
    except BlockingIOError:
        return True
    except (ImportError, OSError):
        return None
    return False
