"""Parts of `launch.bench gpu` in this process, and the training commands that they start in forked ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

import forked
from launch.bench.gpu.config import PartConfig
from launch.bench.gpu.result import Cell, Result

ROOT = Path(__file__).parents[1]


def small(work: Path) -> PartConfig:
    """A trial on the CPU."""
    return PartConfig(device="cpu", work=str(work), answer=str(work / "answer.json"))


def column(result: Result, title: str, name: str) -> list[Cell]:
    """The cells of a column."""
    table = next(table for table in result.tables if table.title == title)
    return [row[table.columns.index(name)] for row in table.rows]


class Started:
    """A training command in a forked process, where `recipes.start` would start a Python."""

    def __init__(self, module: str, words: list[str], output: IO[bytes]) -> None:
        cache = {"HEARTCUT_CACHE": os.environ["HEARTCUT_CACHE"]}
        self._running = forked.Running(cache, ROOT, (module, *words), "")
        self._output = output
        self._code: int | None = None

    @property
    def returncode(self) -> int | None:
        return self._code

    def poll(self) -> int | None:
        return self._running._process.exitcode

    def kill(self) -> None:
        self._running._process.kill()

    def wait(self) -> int:
        ended = self._running.wait()
        self._output.write((ended.stdout + ended.stderr).encode())
        self._code = ended.code
        return ended.code
