"""The result of a part as plain values, and how the part ended. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_type_hints

from configs import records
from configs.errors import InputError

Cell = str | int | float | bool | None
State = Literal["done", "faults", "failed", "timed out", "left out"]
ROUND = 5
"""Significant digits of a figure."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Figures under one title."""

    title: str
    columns: list[str]
    rows: list[list[Cell]]
    """As many cells each as there are columns; null: not known or not measured."""

    @classmethod
    def of(cls, title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Table:
        """A table of rounded figures. AssertionError: a row is too long or too short."""
        assert all(len(row) == len(columns) for row in rows), title
        return cls(title=title, columns=list(columns), rows=[[_rounded(cell) for cell in row] for row in rows])


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What a part found."""

    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Sentences for a person, such as what was measured on."""
    faults: list[str] = field(default_factory=list)
    """What is not as it should be."""
    left_out: dict[str, str] = field(default_factory=dict)
    """What cannot run here, and why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a part ended, when and where, and what it found."""

    state: State
    reason: str = ""
    """Why there is no result."""
    seconds: float = 0.0
    date: str = ""
    """UTC, to the minute."""
    machine: str = ""
    """Hardware and versions in a line."""
    commit: str | None = None
    result: Result = field(default_factory=Result)


def read(path: Path) -> dict[str, Outcome]:
    """Outcomes by part, as `plain` gave them; none without the file. InputError: it is damaged."""
    if not path.exists():
        return {}
    content = records.typed(path, records.from_json(path), {"parts": dict[str, Any]})
    return {name: _outcome(path, own) for name, own in content["parts"].items()}


def plain(outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """Values for JSON."""
    return {"parts": {name: asdict(outcome) for name, outcome in outcomes.items()}}


def result_of(path: Path, found: Any) -> Result:
    """The result in a JSON object that was read from `path`. InputError: it is damaged."""
    known = _known(Result, path, found, {"tables": list[Any]})
    tables = [Table(**_known(Table, path, table)) for table in known.pop("tables")]
    if not all(len(row) == len(table.columns) for table in tables for row in table.rows):
        raise InputError(f"{path} is damaged: a table has a row of another length than its columns")
    return Result(tables=tables, **known)


def _outcome(path: Path, found: Any) -> Outcome:
    known = _known(Outcome, path, found, {"result": dict[str, Any]})
    return Outcome(result=result_of(path, known.pop("result")), **known)


def _known(cls: type[Any], path: Path, found: Any, others: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The fields of a class in a mapping; `others`: types of fields that are plain values at first."""
    hints = get_type_hints(cls) | dict(others or {})
    values = records.typed(path, found, hints)
    return {name: values[name] for name in hints}


def _rounded(cell: Cell) -> Cell:
    return float(f"{cell:.{ROUND}g}") if isinstance(cell, float) else cell
