"""Locks on single bytes of a file, by which processes share work; the kernel lets go of them however a process ends."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class ByteLocks:
    """Locks of this process on single bytes of a file. They go when any descriptor of it is closed: one per process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @contextmanager
    def hold(self, number: int, *, wait: bool = False) -> Iterator[bool | None]:
        """True: the byte is ours. False: another process has it. None: nothing can be locked here."""
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
        except (ImportError, OSError):  # or a folder that may only be read
            return None
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, number)
        except (BlockingIOError, PermissionError):
            return False
        except OSError:
            return None
        return True


def sweep(path: Path, held: bool | None) -> None:
    """Remove what dead writers of a file left beside it. Only who holds its lock knows that they are dead."""
    for leftover in path.parent.glob(f".{path.name}.*.partial") if held else ():
        with suppress(OSError):
            leftover.unlink()
