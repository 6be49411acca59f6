"""Start-up, epochs and caches at the size of ImageNet, piece by piece, each in a process of its own.

The order matters: the index is made by a process that is killed when half of it is there, finished by several, read by
others, and brought up to date after files were added.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from configs.errors import UsageError
from configs.home import expand
from launch.bench.config import ScaleConfig
from launch.bench.report import surroundings
from launch.bench.scale import generated, processes, work
from launch.bench.scale.processes import Cost
from launch.bench.scale.report import Row, ScaleReport
from launch.bench.work import throwaway_cache

ADDED = 1000
"""One file is added for so many."""
WORLDS = (1, 8, 64)


def run(config: ScaleConfig, show: Callable[[str], None]) -> ScaleReport:
    """Measure all pieces on a data set that is there, or on one that is generated for it and removed afterwards."""
    environment = surroundings()
    parent = expand(config.folder) if config.folder else Path(tempfile.gettempdir())
    if not parent.is_dir():
        raise UsageError(f"folder {parent} does not exist; name one on the file system to measure")
    with throwaway_cache(parent) as cache, tempfile.TemporaryDirectory(prefix="heartcut-scale-", dir=parent) as made:
        rows = _Pieces(config, Path(made), cache, show).measure()
    return ScaleReport(rows=rows, environment=environment)


class _Pieces:
    def __init__(self, config: ScaleConfig, folder: Path, cache: Path, show: Callable[[str], None]) -> None:
        self._config, self._folder, self._cache, self._show = config, folder, cache, show
        self._root = folder / "set"
        self._rows: list[Row] = []

    def measure(self) -> list[Row]:
        """The rows of the report."""
        base = processes.alone(work.nothing)
        self._add("a process that has done nothing", base)
        self._generate()
        self._index()
        self._start()
        self._more_files()
        self._epochs()
        self._logits()
        return self._rows

    def _add(self, name: str, cost: Cost, *, count: int | None = None, part: float | None = None) -> None:
        """part: the seconds of that part of the work which the row is about; None: all of it."""
        seconds, cpu = (cost.seconds, cost.cpu_seconds) if part is None else (part, None)
        self._rows.append(Row(name, seconds, cpu, count, cost.peak_bytes, dict(cost.figures)))

    def _generate(self) -> None:
        config = self._config
        self._show(f"generating {config.images:,} files in {config.classes:,} folders")
        begun = time.monotonic()
        generated.make(self._root, config.images, config.classes)
        self._rows.append(Row("hard links made", time.monotonic() - begun, None, config.images, None, {}))

    def _index(self) -> None:
        images, threads = self._config.images, self._config.processes
        self._show("index, killed when half of it is there")
        spent = processes.killed(
            work.begin, self._root, when=lambda: 2 * work.blocks_done(self._cache) >= self._config.images
        )
        done = work.blocks_done(self._cache)
        self._rows.append(Row("index, one process, killed", spent, None, done, None, {}))
        self._show(f"index, the rest by {threads} processes")
        costs = processes.together(work.begin, [(self._root,)] * threads)
        slowest = max(costs, key=lambda cost: cost.seconds)
        left = images - done
        self._add(f"index, the rest by {threads} processes, walk included", slowest, count=left)
        self._rows.append(Row("index on disk", None, None, None, None, {"bytes": work.index_bytes(self._cache)}))

    def _start(self) -> None:
        found = []
        for number in range(self._config.rounds):
            self._show(f"warm start, round {number + 1} of {self._config.rounds}")
            found.append(processes.alone(work.begin, self._root))
        found.sort(key=lambda cost: cost.seconds)
        self._add("warm start, main process, fastest", found[0], count=self._config.images)
        self._add("warm start, main process, median", found[len(found) // 2], count=self._config.images)
        self._add("warm start, main process, slowest", found[-1], count=self._config.images)
        self._show("handing the samples over to other processes")
        file = self._folder / "samples"
        self._add("samples packed for the other processes", processes.alone(work.hand_over, self._root, file))
        self._add("samples taken over by another process", processes.alone(work.take_over, file))
        file.unlink()

    def _more_files(self) -> None:
        config, more = self._config, max(self._config.images // ADDED, 1)
        self._show(f"{more:,} files more")
        generated.add(self._root, more, config.classes, config.images)
        self._add(f"start after {more:,} files were added", processes.alone(work.begin, self._root), count=more)

    def _epochs(self) -> None:
        config = self._config
        for recipe in work.RECIPES:
            self._show(f"plan of an epoch: {recipe}")
            cost = processes.alone(work.epochs, config.images, recipe, config.rounds)
            seconds = cost.figures["plan"] + cost.figures["order"]
            self._add(f"plan and order of an epoch: {recipe}", cost, count=config.images, part=seconds)
        for world in WORLDS:
            self._show(f"an epoch of one of {world} processes")
            cost = processes.alone(work.rank, config.images, config.classes, world, config.rounds)
            seconds = cost.figures["batch"]
            self._add(
                f"a batch of one of {world} processes, without images", cost, count=work.MICRO_BATCH, part=seconds
            )

    def _logits(self) -> None:
        config = self._config
        self._show("teacher logits of one view")
        cost = processes.alone(work.logits, self._folder / "logits", config.images, config.classes)
        self._add("teacher logits of a view, written", cost, count=config.images, part=cost.figures["write"])
        self._add("teacher logits of a view, read", cost, count=config.images, part=cost.figures["read"])
