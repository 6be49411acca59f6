"""One finding about a machine: its level, and advice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Check:
    """A line of the doctor's report. A problem stops every run; a warning makes some slow or impossible."""

    name: str
    level: Level
    found: str
    advice: str = ""
    """Remedy; never empty unless the level is ok."""

    def __post_init__(self) -> None:
        assert self.advice or self.level == "ok", f"{self.name}: a {self.level} without advice"


def limit(name: str, found: str, *, good: bool, advice: str) -> Check:
    """ok where `good`, otherwise a warning with advice."""
    return Check(name, "ok", found) if good else Check(name, "warning", found, advice)


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its kind where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
