"""How often labels of a test split were read to score the network of a run. Free of torch.

RUN/test_reads.jsonl   a line per reading, written just before it: one that is killed has taken place

A reading of the same weights on the same images shows nothing new; one of other weights may have led to a choice.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

from configs import records
from configs.errors import InputError
from configs.files import json_object, read_regular
from train.run_folder import result, status

NAME = "test_reads.jsonl"
STAGES = ("cut", "cut-*", "cut/cut-*")
"""Folders below that of a chain whose network becomes that of the chain."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """One reading. None: the line is damaged."""

    time: str | None = None
    command: str | None = None
    """What scored, such as train.evaluate."""
    split: str | None = None
    images: int | None = None
    weights: str | None = None
    """SHA-256 of the network, as `models.state_dicts.digest` returns it."""
    data: str | None = None
    """Fingerprint of the images."""
    own: bool = True
    """Whether they are of the data set that the run names."""


HINTS = get_type_hints(Reading)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reads:
    """Readings of one set of images, or of all."""

    readings: tuple[Reading, ...] = ()
    told: int = 0
    """How many readings result.json tells of."""
    unrecorded: bool = False
    """There is a score on test of a version that did not record its readings."""

    @property
    def number(self) -> int | None:
        """How many readings there were, or at least; None: none is recorded, and there was one."""
        known = len(self.readings)
        return None if self.unrecorded and not known else max(known + self.unrecorded, self.told)

    @property
    def complete(self) -> bool:
        """Whether `number` is exact."""
        return not self.unrecorded and self.told <= len(self.readings)

    @property
    def networks(self) -> int | None:
        """How many different networks were scored; None: that is not known of every reading."""
        known = {reading.weights for reading in self.readings}
        return len(known) if self.complete and None not in known else None

    @property
    def summary(self) -> str:
        """The number in words: 2 times, always for the same weights."""
        least = "" if self.complete else "at least "
        if (self.number or 0) < 2 or self.networks is None:
            return f"{least}{_times(self.number or 0)}"
        whose = "always for the same weights" if self.networks == 1 else f"for {self.networks} different networks"
        return f"{_times(self.number or 0)}, {whose}"

    @property
    def of_run(self) -> Reads:
        """Readings of the run's own test split, also from another place."""
        known = {reading.data for reading in self.readings if reading.own}
        return replace(self, readings=tuple(one for one in self.readings if one.own or one.data in known))

    def of_data(self, fingerprint: str) -> Reads:
        """Readings of the images with a fingerprint: the run's own, or those of another data set."""
        own = self.of_run
        if any(reading.data == fingerprint for reading in own.readings):
            return own
        return Reads(readings=tuple(one for one in self.readings if one.data == fingerprint))


def record(folder: Path, reading: Reading) -> None:
    """Append a reading that is about to take place; for the main process only. It is the time now.

    A folder that cannot be written to is a warning.
    """
    line = json.dumps(asdict(replace(reading, time=status.now()))) + "\n"
    try:
        descriptor = os.open(folder / NAME, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            file.write(b"\n" * torn + line.encode())  # at once: others may append, too
    except OSError as error:
        logger.warning("%s cannot be written, so that a reading of test is not counted: %s", folder / NAME, error)


def read(folder: Path, faults: list[str] | None = None) -> Reads:
    """Return the readings for the network of a run or a chain; a damaged line is one of which nothing is known.

    Those for the teacher and the student of a chain are theirs. What is wrong is added to `faults`, or logged.
    """
    found: list[str] = []
    folders = [folder, *(path for stage in STAGES for path in sorted(folder.glob(stage)) if path.is_dir())]
    readings = tuple(reading for path in folders for reading in _lines(path / NAME, found))
    results = [one for path in folders for one in _results(path)]
    told = [one["test_reads"] for one in results if type(one.get("test_reads")) is int]
    unrecorded = any(one.get("accuracy_split") == "test" and one.get("test_reads") is None for one in results)
    if faults is not None:
        faults.extend(found)
    for fault in found if faults is None else ():
        logger.warning("%s", fault)
    return Reads(readings=readings, told=max(told, default=0), unrecorded=unrecorded)


def home(weights: Path, run_dir: str | None) -> Path | None:
    """Return the folder of the run that a file of weights belongs to; None: it lies elsewhere, where nobody counts."""
    folder = weights.resolve().parent
    if _is_run(folder):
        return folder
    named = None if run_dir is None else Path(run_dir)
    return named if named is not None and folder.is_relative_to(named.resolve()) and _is_run(named) else None


def _is_run(folder: Path) -> bool:
    return any((folder / name).exists() for name in (status.NAME, result.NAME))


def _lines(path: Path, faults: list[str]) -> Iterator[Reading]:
    try:
        lines = read_regular(path).splitlines()
    except FileNotFoundError:
        return
    except OSError as error:
        faults.append(f"{path} cannot be read, so that readings of test are missing: {error.strerror}")
        return
    for number, line in enumerate(lines, start=1):
        reading = _reading(path, line)
        if reading is None:
            faults.append(f"line {number} of {path} is damaged; it counts as a reading of test")
        yield reading or Reading()


def _reading(path: Path, line: bytes) -> Reading | None:
    try:
        found = records.typed(path, json.loads(line), {})
        known = {name: found.get(name) for name in HINTS}
        return Reading(**records.typed(path, known, HINTS))
    except (InputError, ValueError, RecursionError):
        return None


def _results(folder: Path) -> list[dict[str, Any]]:
    """What a run has reached, now and before its extensions."""
    found = json_object(folder / result.NAME, [])
    extensions = found.get("extensions")
    before = [one.get("result") for one in extensions if isinstance(one, dict)] if isinstance(extensions, list) else []
    return [one for one in (found, *before) if isinstance(one, dict)]


def _times(number: int) -> str:
    return ("never", "once")[number] if number < 2 else f"{number:,} times"
