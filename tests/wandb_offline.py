"""Offline runs of wandb, and what they leave: .wandb files, which are LevelDB logs of protocol buffers."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from wandb.proto.wandb_internal_pb2 import Record

from train.config import TrackSpec
from train.track import wandb_start
from train.track.wandb_run import WandbRun

CONFIG = {"optim.lr": 1e-3, "data.image_size": [16, 16], "seed": 0, "run_dir": "x", "data.threads": 2}
HEADER, BLOCK, PART = 7, 32768, struct.Struct("<IHB")
FULL, LAST = 1, 4
WRITE_SECONDS = 10


def begin(folder: Path, config: Mapping[str, Any] = CONFIG, stage: str = "teacher", **spec: Any) -> WandbRun:
    """Start an attempt at the run of a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    run = wandb_start.start(TrackSpec(wandb="offline", **spec), folder, config=config, stage=stage)
    assert run is not None
    return run


def files(folder: Path) -> list[Path]:
    """The files of a run folder, one per attempt, oldest first."""
    return sorted(folder.glob("wandb/offline-run-*/*.wandb"))


def ended(folder: Path) -> list[Path]:
    """The files of attempts that have ended, once wandb's service has written the last of them."""
    limit = time.monotonic() + WRITE_SECONDS
    for path in files(folder):
        while not any(record.HasField("exit") for record in records(path)):
            assert time.monotonic() < limit, f"{path} has no end"
            time.sleep(0.02)
    return files(folder)


def rows(path: Path) -> list[dict[str, Any]]:
    """The logged rows. A table or an image is a dictionary that describes it."""
    found = []
    for record in records(path):
        if record.HasField("history"):
            row: dict[str, Any] = {}
            for item in record.history.item:
                name, *inner = item.nested_key or [item.key]
                value = json.loads(item.value_json)
                row[name] = row.get(name, {}) | {".".join(inner): value} if inner else value
            found.append(row)
    return found


def runs(paths: list[Path]) -> list[Any]:
    """The run of each file that has one."""
    first = [next((record.run for record in records(path) if record.HasField("run")), None) for path in paths]
    return [run for run in first if run is not None]


def records(path: Path) -> Iterator[Any]:
    """All records, up to where a kill has ended the file."""
    content = path.read_bytes()
    place, data = HEADER, b""
    while place + PART.size <= len(content):
        if (rest := BLOCK - place % BLOCK) < PART.size:  # padding
            place += rest
            continue
        _, length, kind = PART.unpack_from(content, place)  # a CRC is the first
        place += PART.size + length
        if place > len(content):
            return
        data += content[place - length : place]
        if kind in (FULL, LAST):
            try:
                yield Record.FromString(data)
            except DecodeError:
                return
            data = b""
