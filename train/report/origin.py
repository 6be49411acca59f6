"""Where a run comes from: command, config, environment, lineage. Free of torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_type_hints

from configs.shown import printable
from train.compress.config import CompressConfig
from train.config import DistillConfig, TeacherConfig
from train.prune.config import PruneConfig
from train.report.elements import Cell, Missing, Section, Table
from train.report.facts import count
from train.report.folder import RunFolder
from train.report.networks import Subject
from train.report.overview import again

CONFIGS: dict[str, type] = {
    "compress": CompressConfig,
    "prune": PruneConfig,
    "distill": DistillConfig,
    "teacher": TeacherConfig,
}
LARGEST = 2**32
"""Bytes of a file whose SHA-256 is computed."""


def section(subject: Subject) -> Section:
    """Return everything that it takes to make the run again, and to know its files."""
    folder = subject.folder
    tables = [_config(folder), _environment(folder), _lineage(subject)]
    missing = (
        [] if again(folder) else [Missing("environment.json, which has the command and the versions, is missing.")]
    )
    shown = [table for table in tables if table is not None]
    return Section(key="origin", title="How it was made", tables=shown, missing=missing, extra=again(folder))


def _config(folder: RunFolder) -> Table | None:
    cls = CONFIGS.get(folder.kind)
    if cls is None:
        return None
    rows: list[list[Cell]] = [[key, printable(_written(value))] for key, value in differences(cls, folder.config)]
    return Table(caption="Config, where it differs from the defaults", columns=("key", "value"), rows=rows, words=True)


def differences(cls: type, found: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the keys of a config, dotted, whose values are not the defaults, or that have none."""
    hints = get_type_hints(cls)
    for declared in fields(cls):
        if declared.name not in found:
            continue
        value, key = found[declared.name], f"{prefix}{declared.name}"
        inner = _dataclass(hints[declared.name])
        default = declared.default if declared.default_factory is MISSING else declared.default_factory()
        if inner is not None and isinstance(value, dict):
            base = _plain(default)
            for name, own in differences(inner, value, f"{key}."):
                if not (isinstance(base, dict) and _at(base, name.removeprefix(f"{key}.")) == own):
                    yield name, own
        elif default is MISSING or _plain(default) != value:
            yield key, value


def _dataclass(hint: Any) -> type | None:
    """The dataclass of a section, which may be optional."""
    options = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    return next((option for option in options if isinstance(option, type) and is_dataclass(option)), None)


def _plain(value: Any) -> Any:
    """Return a default as YAML holds it."""
    if is_dataclass(value) and not isinstance(value, type):
        return json.loads(json.dumps(asdict(value)))
    return list(map(_plain, value)) if isinstance(value, tuple) else value


def _at(found: Any, dotted: str) -> Any:
    for key in dotted.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _environment(folder: RunFolder) -> Table | None:
    found = folder.environment
    if not found:
        return None
    packages = found.get("packages")
    versions = packages.items() if isinstance(packages, dict) else ()
    known: list[list[Cell]] = [[printable(str(name)), printable(str(version))] for name, version in versions if version]
    rows: list[list[Cell]] = [
        ["commit", found.text("commit")],
        ["Python", found.text("python")],
        *known,
        ["processor", found.text("cpu")],
        ["cores", found.fact(count, "cores")],
        ["threads of torch", found.fact(count, "torch_threads")],
        ["GPUs", printable(", ".join(map(str, found.get("gpus") or ())) or "none")],
        ["processes", folder.result.fact(count, "processes")],
        ["device", folder.result.text("device")],
        ["seed", folder.result.fact(count, "seed")],
    ]
    rows = [row for row in rows if row[1] is not None]
    return Table(caption="Environment", columns=("what", "value"), rows=rows, words=True)


def _lineage(subject: Subject) -> Table | None:
    """Files by their SHA-256, as they are now, and what the header of the weights says of their origin."""
    rows: list[list[Cell]] = []
    for network in (subject.teacher, subject.student, subject.final):
        if network is not None:
            rows.append([f"{network.name}: {printable(str(network.file))}", sha256(network.file) or "not there"])
    found = subject.final.header.get("card", "lineage")
    for key, value in found.items() if isinstance(found, dict) else ():
        rows.append([f"says of itself: {printable(str(key))}", printable(str(value))])
    return Table(caption="Lineage", columns=("file", "SHA-256"), rows=rows, words=True) if rows else None


def sha256(path: Path) -> str | None:
    """Return the SHA-256 of a file; None: it is not there, or larger than any network of ours."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            return None
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
