"""What a training step asks of the device: host syncs, kernels, copies, busy time; before and after a resumption.

Host syncs are counted by torch.cuda.set_sync_debug_mode, the rest by torch.profiler; the wall time is of steps that are
not profiled. On a CPU there is only the number of operators, and how often the host reads a single value, which on a
GPU is a sync each.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass, field
from functools import partial

import torch
from accelerate import Accelerator

from configs import reader
from launch.bench.command import step_class
from launch.bench.config import StepConfig
from launch.bench.gpu.config import PartConfig
from launch.bench.gpu.parts import counting, recipes
from launch.bench.gpu.parts.counting import Event
from launch.bench.gpu.result import Cell, Result, Table
from launch.bench.rounds import Spread, rates
from launch.bench.step import Stepping, last_steps, most_steps, quiet
from train.loop import Loop
from train.processes import make_accelerator
from train.run_folder.run_dir import RunDir
from train.stage.assembly import assemble

PROFILED, ROUNDS, KERNELS = 8, 5, 10
READ = "aten::_local_scalar_dense"
RATES = ("network", "run", "images/s", "least", "most", "Adam's step lies on")
COUNTS = (
    "network", "run", "host syncs", "kernels", "copies", "blocking copies", "busy ms", "wall ms", "busy share",
    "operators", "values read by the host",
)  # fmt: skip
SYNCS = ("network", "run", "where", "syncs per step")
LONGEST = ("network", "kernel", "calls per step", "ms per step")


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """Figures of one run, per optimizer step."""

    rate: Spread
    """Images per second."""
    batch_size: int
    syncs: Counter[str] | None
    """Host syncs of all counted steps by place; None on a CPU."""
    events: list[Event]
    steps: int
    """Steps that were counted, and as many profiled."""
    lies_on: str

    @property
    def wall_ms(self) -> float:
        """Time of a step that is not profiled."""
        return 1e3 * self.batch_size / self.rate.median

    @property
    def syncs_per_step(self) -> float | None:
        """Host syncs."""
        return None if self.syncs is None else self.syncs.total() / self.steps


@dataclass
class Tables:
    """Rows of all tables."""

    rates: list[list[Cell]] = field(default_factory=list)
    counts: list[list[Cell]] = field(default_factory=list)
    syncs: list[list[Cell]] = field(default_factory=list)
    longest: list[list[Cell]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def add(self, network: str, runs: dict[str, Probe]) -> None:
        """Add a network's figures of a new run and of a resumed one."""
        for run, probe in runs.items():
            rate = probe.rate
            self.rates.append([network, run, rate.median, rate.low, rate.high, probe.lies_on])
            self.counts.append([network, run, probe.syncs_per_step, *counts(probe)])
            places = (probe.syncs or Counter()).most_common()
            self.syncs += [[network, run, place, count / probe.steps] for place, count in places]
            if probe.syncs:
                self.faults.append(f"{network}, {run}: {probe.syncs_per_step:.3g} host syncs per step; 0 is right")
        self.longest += [[network, *row] for row in longest(next(iter(runs.values())))]


def run(config: PartConfig, name: str) -> Result:
    """Probe the recipe for photographs, and a student of small images."""
    photographs, arrays = recipes.photographs(config), recipes.arrays(config)
    hints = recipes.LOGITS_ALONE if config.small else []
    taught = [*photographs.distilling, *hints, "--teacher", recipes.teacher(config)]
    lines = {"photographs, with the teacher": taught, "small images, labels alone": [*arrays.distilling]}
    lines["small images, labels alone"] += recipes.WITHOUT_TEACHER
    found = Tables()
    for label, line in lines.items():
        words = [*line, "--test", "false", "--run_dir", str(config.folder / name)]
        own = reader.read(step_class(words), words, prog=name, description=name)
        found.add(label, both(own, steps=2 if config.small else PROFILED, rounds=1 if config.small else ROUNDS))
    tables = [Table.of("Speed", RATES, found.rates), Table.of("Per optimizer step", COUNTS, found.counts)]
    tables += [Table.of("Host syncs by place", SYNCS, found.syncs)] if found.syncs else []
    tables += [Table.of("Longest kernels of the new runs", LONGEST, found.longest)] if found.longest else []
    return Result(tables=tables, notes=[photographs.words, arrays.words], faults=found.faults)


def both(config: StepConfig, *, steps: int, rounds: int) -> dict[str, Probe]:
    """Probe a new run, save it, and probe it again as a process would that resumes it."""
    with tempfile.TemporaryDirectory(prefix="heartcut-probe-") as folder:
        accelerator = make_accelerator(config.precision)
        found = {}
        for run in ("new", "resumed"):
            loop = assemble(quiet(config, folder), accelerator, RunDir.at(folder), "probe")
            assert loop.tracker is not None, "one process"
            assert (loop.state.progress.total_steps > 0) == (run == "resumed")
            found[run] = probe(loop, accelerator, steps, rounds)
            if run == "new":
                loop.state.progress.step = loop.state.progress.total_steps = 1
                loop.state.save(loop.folder.checkpoints)
            loop.close()
            loop.tracker.close()
        return found


def probe(loop: Loop, accelerator: Accelerator, steps: int, rounds: int) -> Probe:
    """Measure steps as `launch.bench step` takes them, then count, then profile."""
    stepping = Stepping(loop, partial(last_steps, loop.train_loader))
    steps = min(steps, most_steps(loop.train_loader))
    size, cuda = loop.layout.batch_size, accelerator.device.type == "cuda"

    def lap() -> None:
        stepping.lap(steps * size)

    lap()
    laps = [stepping.lap(most_steps(loop.train_loader) * size) for _ in range(rounds)]
    syncs = counting.syncs(lap) if cuda else None
    return Probe(
        rate=rates(laps),
        batch_size=size,
        syncs=syncs,
        events=counting.events(lap, cuda=cuda),
        steps=steps + 1,  # a lap takes one before its clock starts
        lies_on=adam_device(loop.state.optimizer),
    )


def adam_device(optimizer: torch.optim.Optimizer) -> str:
    """Where Adam's count of steps lies; nothing for other optimizers."""
    return ", ".join(sorted({str(state["step"].device) for state in optimizer.state.values() if "step" in state}))


def counts(probe: Probe) -> list[Cell]:
    """Kernels, copies, blocking copies, busy ms, wall ms, busy share, operators and values read, per step."""
    device = [event for event in probe.events if event.on_device]
    copies = [event for event in device if event.name.startswith(("Memcpy", "Memset"))]
    blocking = [event for event in copies if "Pageable" in event.name]
    operators = [event for event in probe.events if event.name.startswith("aten::")]
    busy_ms = counting.busy(device) / 1e3 / probe.steps
    reads = sum(event.name == READ for event in operators)
    figures: list[Cell] = [None] * 4
    if probe.syncs is not None:
        figures = [(len(device) - len(copies)) / probe.steps, len(copies) / probe.steps, len(blocking) / probe.steps]
        figures.append(busy_ms)
    share = None if probe.syncs is None else busy_ms / probe.wall_ms
    return [*figures, probe.wall_ms, share, len(operators) / probe.steps, reads / probe.steps]


def longest(probe: Probe) -> list[list[Cell]]:
    """The kernels that take longest: name, calls and milliseconds per step."""
    spent: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for event in probe.events:
        if event.on_device:
            calls[event.name] += 1
            spent[event.name] += round(event.end - event.start)
    return [[name[:80], calls[name] / probe.steps, us / 1e3 / probe.steps] for name, us in spent.most_common(KERNELS)]
