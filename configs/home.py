"""The user's folders, for users without a home too: a container often runs under a number that has no entry."""

from __future__ import annotations

import functools
import logging
import os
import tempfile
from pathlib import Path

from configs.errors import UsageError

logger = logging.getLogger(__name__)


def home() -> Path | None:
    """The user's home folder; None for a user without $HOME and without an entry among the users of the system."""
    try:
        return Path.home()
    except (RuntimeError, KeyError):
        return None


def expand(path: str | Path) -> Path:
    """The path with a leading ~ or ~name written out. UsageError: nobody's home is known."""
    try:
        return Path(path).expanduser()
    except (RuntimeError, KeyError) as error:
        raise UsageError(f"{path}: there is no home folder for ~ here; write the path out, or set HOME") from error


def cache_folder() -> Path:
    """$HEARTCUT_CACHE, or heartcut/ in the user's cache folder; for a user without a home, in the temporary folder."""
    if own := os.environ.get("HEARTCUT_CACHE"):
        return Path(own)
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared) / "heartcut"
    there = home()
    return _temporary() if there is None else there / ".cache" / "heartcut"


@functools.cache
def _temporary() -> Path:
    """A folder of this user alone. UsageError: somebody else has made it, who could put anything into it."""
    user = os.getuid()
    folder = Path(tempfile.gettempdir()) / f"heartcut-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        owner = folder.lstat().st_uid
    except OSError as error:
        raise UsageError(f"there is no home folder, and {folder} cannot be made: set HEARTCUT_CACHE") from error
    if owner != user or folder.is_symlink():
        raise UsageError(f"there is no home folder, and {folder} belongs to somebody else: set HEARTCUT_CACHE")
    logger.warning("there is no home folder; what is cached goes to %s (HEARTCUT_CACHE names another)", folder)
    return folder
