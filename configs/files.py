"""Atomic and durable file writes."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

SMALL = 2**26
"""Bytes that no file of settings or results reaches."""
ABANDONED = 86_400
"""Seconds after which nobody writes to a temporary file any more."""
PARTIAL = re.compile(r"\..+\.[0-9a-f]{8}\.partial")


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a temporary file beside the target, flush it to disk, and rename it: a crash never leaves a partial file.

    Text is encoded as UTF-8. Parent folders are created. Of two processes that write at once, the last rename wins.
    An OSError, which names the file, leaves the old one in place.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("xb") as file:  # unlike tempfile's, with the permissions of the umask
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # a full disk names no file
    finally:
        partial.unlink(missing_ok=True)
    flush_folder(path.parent)


def remove_partial(folder: Path) -> None:
    """Remove what killed processes left in a folder. Nobody else may be writing there."""
    for path in folder.glob(".*.partial"):
        if PARTIAL.fullmatch(path.name):
            path.unlink(missing_ok=True)


def remove_abandoned(folder: Path) -> None:
    """Remove what killed processes left in a folder that others use: files that nobody has written to for a day."""
    for path in folder.glob(".*.partial"):
        with suppress(OSError):  # another process may have removed it
            if PARTIAL.fullmatch(path.name) and time.time() - path.lstat().st_mtime > ABANDONED:
                path.unlink()


def write_script(path: Path, text: str) -> None:
    """Write a shell script. File names in it keep the bytes that they have on disk, UTF-8 or not."""
    path.write_bytes(os.fsencode(text))


def flush_folder(path: Path) -> None:
    """Flush a folder to disk, so that renames in it survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_regular(path: Path, most: int = SMALL) -> bytes:
    """Return the content of a file. OSError, which names it: it is a pipe, a device or a folder, or too large.

    most: bytes that such a file may have; no more are read than it has.
    """
    # Without O_NONBLOCK, opening a pipe waits for somebody who writes into it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))
        if found.st_size > most:
            raise OSError(errno.EFBIG, f"it has {found.st_size:,} bytes; at most {most:,} are right", str(path))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(found.st_size)
    finally:
        os.close(descriptor)


def json_object(path: Path, faults: list[str]) -> dict[str, Any]:
    """A JSON object; nothing if there is none. What is wrong with it is added to `faults`."""
    try:
        found = json.loads(read_regular(path))
    except FileNotFoundError:
        return {}
    except OSError as error:
        faults.append(f"{path.name}: {error.strerror}")
        return {}
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        faults.append(f"{path.name} is damaged")
        return {}
    return found
