"""A training step fed by its loader, against the same step on one batch again and again.

Builds what train.teacher or train.distill would, in a temporary folder; no run is read, written or logged.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice, repeat
from typing import Any

from configs.errors import UsageError
from data_pipes.batch import Batch
from data_pipes.executors import build
from data_pipes.executors.choice import Choice
from data_pipes.loader import PlanLoader
from data_pipes.sources.samples import Samples
from data_pipes.spec import DataSpec
from launch.bench.config import StepConfig
from launch.bench.report import Report, surroundings
from launch.bench.rounds import Goal, Lap, Stopwatch, Variant, measure, progress, ratios
from launch.bench.work import CPU_CANVAS, LeftOut, settle, throwaway_cache
from train.config import DistillConfig, TrackSpec
from train.loop import Loop
from train.processes import choose_algorithms, dtype_of, image_dtype_of, make_accelerator
from train.run_folder.run_dir import RunDir
from train.stage.assembly import assemble
from train.step import Step

GOAL = 0.97
LEAST_STEPS = 2  # of a lap
MOST_STEPS = 64  # for which images are kept ready in loaders that are not the config's own
Batches = Callable[[int], Iterator[Batch]]


def run(config: StepConfig, show: Callable[[str], None]) -> Report:
    """Build the run and measure its step with every loader; nothing stays on disk."""
    environment = surroundings()
    show("building the run")
    with tempfile.TemporaryDirectory(prefix="heartcut-bench-") as folder:
        choose_algorithms(deterministic=config.deterministic)
        loop = assemble(quiet(config, folder), make_accelerator(config.precision), RunDir.at(folder), "bench")
        assert loop.tracker is not None, "one process"
        variants: dict[str, Variant] = {}
        try:
            variants, notes, left_out = prepare(loop, show)
            step_images = loop.layout.batch_size
            laps = measure(
                variants,
                config.rounds,
                images=LEAST_STEPS * step_images,
                seconds=config.seconds,
                show=progress(show, config.rounds),
            )
        finally:
            for variant in variants.values():
                variant.close()
            loop.close()
            loop.tracker.close()
    goals = [Goal(f"{name}/constant", name, ("constant",), GOAL) for name in variants if name != "constant"]
    return Report(
        work=f"{describe(config)}; {config.rounds} rounds of at least {LEAST_STEPS} steps of {step_images} images",
        laps=laps,
        notes=notes,
        ratios=ratios(goals, laps),
        left_out=left_out,
        figures={},
        footer=[],
        environment=environment | circumstances(loop, config),
    )


def circumstances(loop: Loop, config: StepConfig) -> dict[str, Any]:
    """Settings that a measured step depends on, for the report."""
    data = config.data
    return {
        "device": str(loop.accelerator.device),
        "source": data.source,
        "rounds": config.rounds,
        "batch_size": loop.layout.batch_size,
        "image_size": list(data.image_size),
        "threads": data.thread_count,
        "prefetch": data.prefetch,
    }


def quiet(config: StepConfig, folder: str) -> StepConfig:
    """The same run in another folder, in whole epochs, without tracker and teacher check."""
    config = replace(config, run_dir=folder, epoch_share=1, track=TrackSpec(), checkpoint_steps=0, checkpoint_minutes=0)
    if isinstance(config, DistillConfig):
        return replace(config, distill=replace(config.distill, teacher_check=0))
    return config


def prepare(loop: Loop, show: Callable[[str], None]) -> tuple[dict[str, Variant], dict[str, str], dict[str, str]]:
    """The variants, a description of each, and the reasons of those that cannot run here."""
    own, spec, device = loop.train_loader, loop.config.data, loop.accelerator.device
    if own.steps < LEAST_STEPS:
        raise UsageError(
            f"batch_size {loop.layout.batch_size} is too large to measure: the {len(own.dataset)} training images must "
            f"be at least {LEAST_STEPS} steps"
        )
    label = loop.chosen.label
    constant = next(iter(own.epoch(0)))
    variants: dict[str, Variant] = {
        "constant": Stepping(loop, lambda steps: repeat(constant, steps * loop.layout.accumulation)),
        "loader": Stepping(loop, partial(last_steps, own)),
    }
    notes = {"constant": "one batch again and again", "loader": f"the config's own loader: executor {label}"}
    left_out: dict[str, str] = {}
    for name, changed in others(spec).items():
        try:
            chosen = build.choose(changed, own.dataset, device)
            if device.type == "cpu" and name == "dali-canvas":
                raise LeftOut(CPU_CANVAS)
            if chosen.label != label:
                show(f"{name}: starting")
                variants[name] = Stepping.of(loop, changed, chosen)
                notes[name] = f"executor {chosen.label}"
        except (UsageError, LeftOut) as reason:
            left_out[name] = str(reason)
    return variants, notes, left_out


def others(spec: DataSpec) -> dict[str, DataSpec]:
    """The spec with each executor."""
    files, canvas = (replace(spec.dali, feed=feed) for feed in ("files", "canvas"))
    return {
        "host": replace(spec, executor="host"),
        "resident": replace(spec, executor="resident"),
        "dali-files": replace(spec, executor="dali", dali=files),
        "dali-canvas": replace(spec, executor="dali", dali=canvas),
    }


class Stepping:
    """Training steps on batches of a given source."""

    def __init__(
        self, loop: Loop, batches: Batches, close: Callable[[], None] = lambda: None, step: Step | None = None
    ) -> None:
        """`batches(steps)`: the micro-batches of so many steps; `step`: another than the loop's own."""
        self._loop, self._batches, self.close = loop, batches, close
        self._step = loop.step if step is None else step

    @classmethod
    def of(cls, loop: Loop, spec: DataSpec, chosen: Choice) -> Stepping:
        """Steps fed by another executor, on some of the training images."""
        loader = other_loader(loop, spec, chosen)
        return cls(loop, partial(last_steps, loader), loader.close)

    def lap(self, images: int) -> Lap:
        """See `Variant.lap`; as many epochs' ends as it takes."""
        left = images // self._loop.layout.batch_size
        parts = []
        while left:
            parts.append(self._part(min(left, most_steps(self._loop.train_loader))))
            left -= parts[-1].images // self._loop.layout.batch_size
        known = [part.cpu_seconds for part in parts if part.cpu_seconds is not None]
        cpu = sum(known) if len(known) == len(parts) else None
        return Lap(images, sum(part.seconds for part in parts), cpu)

    def _part(self, steps: int) -> Lap:
        """The clock starts after one step more: what fills the loader's queue is then part of no lap, as what is left
        in it at the end is part of none."""
        loop = self._loop
        batches = self._batches(steps + 1)
        self._take(islice(batches, loop.layout.accumulation))
        watch = Stopwatch(partial(settle, loop.accelerator.device))
        self._take(batches)
        return watch.lap(steps * loop.layout.batch_size)

    def _take(self, batches: Iterator[Batch]) -> None:
        """What Loop does in a step, without counting: schedule, step, moving average."""
        loop, accumulation = self._loop, self._loop.layout.accumulation
        for number, batch in enumerate(batches):
            loop.schedule.step_update(0)
            self._step(batch, 0, number % accumulation)
            if loop.state.ema is not None and (number + 1) % accumulation == 0:
                loop.state.ema.update(loop.state.student.net, step=1)


def most_steps(loader: PlanLoader) -> int:
    """Steps between two views: one of the epoch is not timed."""
    return min(loader.steps, MOST_STEPS) - 1


def last_steps(loader: PlanLoader, steps: int) -> Iterator[Batch]:
    """The end of an epoch, after which nothing is in flight."""
    return loader.epoch(0, first_step=loader.steps - steps)


def other_loader(loop: Loop, spec: DataSpec, chosen: Choice) -> PlanLoader:
    """A loader like the loop's own with another executor and only as many images as are measured."""
    samples, layout = loop.train_loader.dataset, loop.layout
    few: Samples = samples.select(samples.spread(MOST_STEPS * layout.batch_size))
    precision, device = loop.config.precision, loop.accelerator.device
    with throwaway_cache():
        executor = build.build(chosen, spec, few, device, image_dtype_of(precision))
    return PlanLoader(few, spec, layout, executor, seed=loop.config.seed, device=device, dtype=dtype_of(precision))


def describe(config: StepConfig) -> str:
    """The step in words."""
    height, width = config.data.image_size
    taught = isinstance(config, DistillConfig) and config.distill.needs_teacher
    net = config.trained.name + (f" taught by {config.teacher}" if isinstance(config, DistillConfig) and taught else "")
    return f"a training step of {net} on {config.data.source} at {height} x {width} pixels, {config.precision}"
