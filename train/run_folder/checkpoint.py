"""Checkpoints on disk: tensors as safetensors, the rest as JSON, a manifest with checksums; loading executes nothing.

    checkpoints/step-00000120/  state.safetensors  state.json  MANIFEST.json

A folder is written under a temporary name, flushed and renamed: one with its final name is complete.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from safetensors.torch import save as serialise

from configs import records
from configs.errors import InputError
from configs.files import flush_folder, read_regular, write_atomically

logger = logging.getLogger(__name__)
FORMAT = 2
KEEP = 2
FILES = ("state.safetensors", "state.json")
OWN = re.compile(r"step-[0-9]{8,}")


def save(folder: Path, step: int, tensors: dict[str, torch.Tensor], record: dict[str, Any]) -> None:
    """Write the checkpoint of `step`, then remove all but the newest two."""
    final, beside = folder / f"step-{step:08d}", folder / f".tmp-{step}-{os.getpid()}"
    if final.exists():
        if _problem(final) is None:
            return  # a restarted run came to the same step again: the same state
        shutil.rmtree(final)
    shutil.rmtree(beside, ignore_errors=True)
    contents = serialise({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
    try:
        _write(beside, step, {FILES[0]: contents, FILES[1]: json.dumps(record, indent=2).encode()})
        beside.rename(final)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)  # on a full disk, others need the space
        raise
    flush_folder(folder)
    for old in _steps(folder)[:-KEEP]:
        # Renamed first: a kill in the middle of the removal must not leave half a checkpoint under a valid name.
        trash = folder / f".trash-{old.name}"
        old.rename(trash)
        shutil.rmtree(trash)


def _write(folder: Path, step: int, contents: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True)
    for name, content in contents.items():
        write_atomically(folder / name, content)
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    manifest = {"format": FORMAT, "step": step, "sha256": sums}
    write_atomically(folder / "MANIFEST.json", json.dumps(manifest, indent=2))
    flush_folder(folder)


def load_newest(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """Return tensors and record of the newest sound checkpoint; None if there is no checkpoint.

    A damaged one is passed over with a warning that says what is wrong. InputError if all are damaged, or of a format
    that this version does not read.
    """
    for leftover in [*folder.glob(".tmp-*"), *folder.glob(".trash-*")]:
        shutil.rmtree(leftover, ignore_errors=True)
    path = _newest(folder)
    return None if path is None else (load_file(path / FILES[0]), _record(path))


def newest_record(folder: Path) -> dict[str, Any] | None:
    """Return only the record of the checkpoint that `load_newest` would load. InputError as there."""
    path = _newest(folder)
    return None if path is None else _record(path)


def _record(path: Path) -> dict[str, Any]:
    return dict(records.typed(path / FILES[1], records.from_json(path / FILES[1]), {}))


def _newest(folder: Path) -> Path | None:
    found = _steps(folder)
    for path in reversed(found):
        problem = _problem(path)
        if problem is None:
            return path
        logger.warning("checkpoint %s is passed over: %s", path, problem)
    other = [written for written in map(_format, found) if written not in (None, FORMAT)]
    if other:
        raise InputError(
            f"checkpoints in {folder} have format {other[-1]}, and this version reads format {FORMAT}: finish the "
            "run with the version that began it, or train afresh in another --run_dir"
        )
    if found:
        raise InputError(f"all checkpoints in {folder} are damaged; delete the folder to start afresh")
    return None


def _steps(folder: Path) -> list[Path]:
    """Return our own checkpoints, oldest first: a copy such as step-00000120.bak is its maker's."""
    named = (path for path in folder.glob("step-*") if OWN.fullmatch(path.name))
    return sorted(named, key=lambda path: int(path.name.removeprefix("step-")))


def _format(path: Path) -> Any:
    """Return the format in a checkpoint's manifest; None if it cannot be read."""
    try:
        return json.loads(read_regular(path / "MANIFEST.json")).get("format")
    except (OSError, ValueError, AttributeError, RecursionError):
        return None


def _problem(path: Path) -> str | None:
    """Return what is wrong with a checkpoint, or None."""
    try:
        return _mismatch(path, json.loads(read_regular(path / "MANIFEST.json")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return f"its MANIFEST.json cannot be read ({type(error).__name__}: {error})"


def _mismatch(path: Path, manifest: Any) -> str | None:
    if manifest.get("format") != FORMAT:
        return f"its format is {manifest.get('format')!r}, this version reads {FORMAT}"
    if path.name != f"step-{manifest['step']:08d}":
        return f"it belongs to step {manifest['step']}"
    for name in FILES:
        if not (path / name).is_file():
            return f"{name} is missing"
        if _sha256(path / name) != manifest["sha256"][name]:
            return f"{name} does not have the checksum in MANIFEST.json"
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
