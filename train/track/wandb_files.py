"""What wandb leaves in a run folder, over all attempts at the run: its id, what was logged, what is to be uploaded.

RUN/wandb.json                                     id, name, and the folders that are not uploaded
RUN/wandb/offline-run-20260101_120000-ID/run-ID.wandb   one attempt; run-... instead of offline-run-... online
"""

from __future__ import annotations

import json
import secrets
import shlex
import struct
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from configs.errors import InputError
from configs.files import write_atomically

NAME = "wandb.json"
HEADER, BLOCK, PART = 7, 32768, struct.Struct("<IHB")
WHOLE, LAST = 1, 4
WRITE_SECONDS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Memo:
    """What every attempt at a run must know of those before it."""

    id: str
    name: str
    recipe: str
    """What the config says that matters to the result: another one is another run."""
    pending: tuple[str, ...] = ()
    """Folders, oldest first, that are to be uploaded together."""

    @classmethod
    def read(cls, folder: Path, name: str, recipe: str) -> Memo:
        """That of a run folder; a new one, which is `name`, where there is none, or one of another recipe.

        InputError: it is damaged.
        """
        new, path = cls(id=secrets.token_hex(4), name=name, recipe=recipe), folder / NAME
        if not path.exists():
            return new
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            old = cls(**found | {"pending": tuple(found["pending"])})
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is damaged ({error!r}); delete it to go on as a new wandb run") from error
        return old if old.recipe == recipe else new

    def write(self, folder: Path) -> None:
        """Keep it for the next attempt."""
        write_atomically(folder / NAME, json.dumps(asdict(self), indent=2) + "\n")


def logged(folder: Path, run_id: str) -> dict[str, Any]:
    """The last value of everything that earlier attempts at a run have logged and that has reached the disk."""
    values: dict[str, Any] = {}
    for path in sorted(folder.glob(f"wandb/*run-*-{run_id}*/run-{run_id}.wandb"), key=_begun):
        for row in history(path):
            values |= row
    return values


def sync_line(folder: Path, memo: Memo) -> str:
    """The command that uploads what is pending; empty if nothing is."""
    homes = [folder.resolve() / "wandb" / name for name in memo.pending]
    # A kill in the first seconds leaves a file without a run, at which `wandb sync` would stumble.
    whole = [home for home in homes if any(found.HasField("run") for found in records(home / f"run-{memo.id}.wandb"))]
    return "wandb sync " + " ".join(shlex.quote(str(home)) for home in whole) if whole else ""


def history(path: Path) -> Iterator[dict[str, Any]]:
    """The rows that were logged into a .wandb file. A table or an image is a dictionary that describes it."""
    for record in records(path):
        if record.HasField("history"):
            row: dict[str, Any] = {}
            for item in record.history.item:
                name, *inner = item.nested_key or [item.key]
                value = json.loads(item.value_json)
                row[name] = row.get(name, {}) | {".".join(inner): value} if inner else value
            yield row


def wait_for_end(path: Path) -> None:
    """Until a .wandb file is whole: wandb's service writes the last of it when the run has ended for Python already."""
    limit = time.monotonic() + WRITE_SECONDS
    while time.monotonic() < limit and not any(record.HasField("exit") for record in records(path)):
        time.sleep(0.02)


def records(path: Path) -> Iterator[Any]:
    """All records of a .wandb file, up to where a kill or damage has ended it.

    Seven bytes, then LevelDB's log: blocks of 32 KiB that hold parts of records; CRC, length, kind, data.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from wandb.proto.wandb_internal_pb2 import Record

    content = path.read_bytes() if path.exists() else b""
    place, data = HEADER, b""
    while place + PART.size <= len(content):
        if (rest := BLOCK - place % BLOCK) < PART.size:  # padding
            place += rest
            continue
        _, length, kind = PART.unpack_from(content, place)
        place += PART.size + length
        if place > len(content):
            return
        data += content[place - length : place]
        if kind in (WHOLE, LAST):
            try:
                yield Record.FromString(data)
            except DecodeError:
                return
            data = b""


def _begun(path: Path) -> str:
    """When an attempt began, to the second, and its number within it."""
    return path.parent.name.partition("run-")[2]
