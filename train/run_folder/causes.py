"""Why a process other than the main one ended; the main one hears only that a connection was closed. Free of torch.

RUN/error-process-3.json   {"process": 3, "exit_code": 66, "reason": ..., "at": seconds since 1970}
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from configs.errors import ExitCode, UserError, exit_code
from configs.files import json_object, write_atomically
from configs.stopping import StoppedError

SECONDS = 3.0
"""How long the main process waits for another one's cause: both learn of a broken connection at about the same time."""
PAUSE = 0.1
NAMES = "error-process-*.json"


class OtherProcessError(UserError):
    """Another process of the run failed; the exit code is that of its error."""

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(message)
        self.exit_code = code


@contextmanager
def witnessed(folder: Path, process: int) -> Iterator[None]:
    """Record the error with which a process other than the main one ends; a stop is none."""
    try:
        yield
    except StoppedError:
        raise
    except BaseException as error:
        record(folder, process, error)
        raise


def record(folder: Path, process: int, error: BaseException) -> None:
    """Record the error with which a process other than the main one ends."""
    found = {"process": process, "exit_code": exit_code(error), "reason": str(error) or type(error).__name__}
    text = json.dumps(found | {"at": time.time(), "ours": isinstance(error, UserError)}, indent=2)
    write_atomically(folder / NAMES.replace("*", str(process)), text)


def forget(folder: Path) -> None:
    """Remove what an earlier attempt has left."""
    for path in folder.glob(NAMES):
        path.unlink(missing_ok=True)


def explained(folder: Path, error: BaseException) -> BaseException:
    """Return what ended the main process of several: its own error, or the first of another process if that caused it.

    Errors with a message of ours come before those of libraries, which follow from them.
    """
    if isinstance(error, UserError) and not isinstance(error, StoppedError):
        return error
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return error
    until = time.monotonic() + (0 if isinstance(error, StoppedError) else SECONDS)
    while (cause := first(folder)) is None and time.monotonic() < until:
        time.sleep(PAUSE)
    return error if cause is None else cause


def first(folder: Path) -> OtherProcessError | None:
    """Return the error of another process that said first why it ended, if any said anything."""
    causes = (json_object(path, []) for path in folder.glob(NAMES))
    known = [cause for cause in causes if _whole(cause)]
    if not known:
        return None
    found = min(known, key=lambda cause: (not cause["ours"], cause["at"]))
    return OtherProcessError(f"process {found['process']}: {found['reason']}", ExitCode(found["exit_code"]))


def _whole(cause: dict[str, Any]) -> bool:
    timed = isinstance(cause.get("at"), int | float) and type(cause.get("exit_code")) is int
    return timed and {"process", "reason", "ours"} <= cause.keys() and cause["exit_code"] in tuple(ExitCode)
