"""One process at a time in a folder, by a lock that the kernel lets go of however the process ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from configs.errors import ExitCode, UserError

NAME = "lock"


class LockedError(UserError):
    """Another process works in the folder."""

    exit_code = ExitCode.LOCKED


@contextmanager
def alone(folder: Path, refusal: Callable[[], str]) -> Iterator[None]:
    """Make the folder and be alone in it, as far as its file system has locks.

    LockedError, with the text of `refusal`: another process is.
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
    """Whether a process is alone in a folder; None where this cannot be told, or none ever was."""
    try:
        import fcntl

        with (folder / NAME).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # closing lets go of it
    except BlockingIOError:
        return True
    except (ImportError, OSError):
        return None
    return False
