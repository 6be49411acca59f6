"""Locks on single bytes of a file, by which processes share work. The kernel releases them however a process ends."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class ByteLocks:
    """Locks of this process on bytes of a file. One object per file: closing any descriptor releases all."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @contextmanager
    def hold(self, number: int, *, wait: bool = False) -> Iterator[bool | None]:
        """Lock a byte for the duration of a with-block.

        True: locked. False: another process holds it. None: files cannot be locked here.
        """
        held = self._take(number, wait)
        try:
            yield held
        finally:
            if held and self._descriptor is not None:
                import fcntl

                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, number)

    def _take(self, number: int, wait: bool) -> bool | None:
        try:
            import fcntl  # Windows has none

            if self._descriptor is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
                weakref.finalize(self, os.close, self._descriptor)
        except (ImportError, OSError):  # OSError: a read-only folder
            return None
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, number)
        except (BlockingIOError, PermissionError):
            return False
        except OSError:
            return None
        return True


def sweep(path: Path, held: bool | None) -> None:
    """Remove temporary files left by dead writers of a file, if its lock is held: otherwise they may be alive."""
    for leftover in path.parent.glob(f".{path.name}.*.partial") if held else ():
        with suppress(OSError):
            leftover.unlink()
