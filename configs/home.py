"""The home and cache folders of the user, who may have no home: containers often run under an unknown user ID."""

from __future__ import annotations

import functools
import logging
import os
import tempfile
from pathlib import Path

from configs.errors import UsageError

logger = logging.getLogger(__name__)


def home() -> Path | None:
    """The user's home folder; None without $HOME and without a passwd entry."""
    try:
        return Path.home()
    except (RuntimeError, KeyError):
        return None


def expand(path: str | Path) -> Path:
    """Expand a leading ~ or ~name. UsageError: that home folder is unknown."""
    try:
        return Path(path).expanduser()
    except (RuntimeError, KeyError) as error:
        raise UsageError(f"{path}: there is no home folder for ~ here; write the full path, or set HOME") from error


def cache_folder() -> Path:
    """$HEARTCUT_CACHE, or heartcut/ in the user's cache folder, or a temporary folder for a user without a home."""
    if own := os.environ.get("HEARTCUT_CACHE"):
        return Path(own)
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared) / "heartcut"
    folder = home()
    return _temporary() if folder is None else folder / ".cache" / "heartcut"


@functools.cache
def _temporary() -> Path:
    """A temporary folder that belongs to this user. UsageError: another user owns it, and could write to it."""
    user = os.getuid()
    folder = Path(tempfile.gettempdir()) / f"heartcut-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        owner = folder.lstat().st_uid
    except OSError as error:
        raise UsageError(f"there is no home folder, and {folder} cannot be created: set HEARTCUT_CACHE") from error
    if owner != user or folder.is_symlink():
        raise UsageError(f"there is no home folder, and {folder} belongs to another user: set HEARTCUT_CACHE")
    logger.warning("there is no home folder; the cache is in %s (set HEARTCUT_CACHE to change it)", folder)
    return folder
