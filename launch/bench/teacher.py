"""The cost of a teacher: a training step without one, with its logits from disk, and with the teacher itself."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from configs.errors import UsageError
from launch.bench.config import DistillStepConfig
from launch.bench.report import Report, surroundings
from launch.bench.rounds import Goal, measure, progress, ratios
from launch.bench.step import LEAST_STEPS, Stepping, circumstances, describe, last_steps, quiet
from train.live_teacher import LiveTeacher
from train.loop import Loop
from train.loss.config import SUPERVISED
from train.loss.objective import Objective
from train.processes import choose_algorithms, dtype_of, make_accelerator
from train.run_folder.run_dir import RunDir
from train.stage.assembly import assemble

GOAL = 0.952
"""An epoch with cached logits takes at most 1.05 times as long as one without a teacher."""
NOTES = {
    "without": "labels alone",
    "cached": "logits read from a cache, filled for this",
    "online": "the teacher sees every batch",
}


def run(config: DistillStepConfig, show: Callable[[str], None]) -> Report:
    """Fill a cache in a temporary folder, take the step in three ways, and leave no trace.

    UsageError: the teacher is missing, or more than its logits is needed.
    """
    environment = surroundings()
    with tempfile.TemporaryDirectory(prefix="heartcut-bench-") as folder:
        show("building the run, and filling a cache with one view")
        choose_algorithms(deterministic=config.deterministic)
        loop = assemble(with_cache(config, folder), make_accelerator(config.precision), RunDir.at(folder), "bench")
        assert loop.tracker is not None, "one process"
        try:
            laps = measure(
                variants(loop, config),
                config.rounds,
                images=LEAST_STEPS * loop.layout.batch_size,
                seconds=config.seconds,
                show=progress(show, config.rounds),
            )
        finally:
            loop.close()
            loop.tracker.close()
    goals = [Goal("cached/without", "cached", ("without",), GOAL), Goal("cached/online", "cached", ("online",), 1.0)]
    return Report(
        work=f"{describe(config)}; {config.rounds} rounds of at least {LEAST_STEPS} steps",
        laps=laps,
        notes=NOTES,
        ratios=ratios(goals, laps),
        left_out={},
        figures={},
        footer=[],
        environment=environment | circumstances(loop, config),
    )


def with_cache(config: DistillStepConfig, folder: str) -> DistillStepConfig:
    """The same run with a cache of its own, which its first epoch fills. UsageError: it has no use for one."""
    if not config.distill.needs_logits:
        raise UsageError("distill.alpha is 0; it must be more, or there are no logits to ask the teacher for")
    cached = replace(config.distill, teacher_logits="write_through", cache=str(Path(folder) / "logits"), verify=0)
    made = quiet(replace(config, distill=cached, views=1), folder)
    assert isinstance(made, DistillStepConfig)
    return made


def variants(loop: Loop, config: DistillStepConfig) -> dict[str, Stepping]:
    """The step without a teacher, with the loop's own, which answers from disk, and with the one it is made from."""
    cached, device = loop.step.teacher, loop.accelerator.device
    assert cached is not None and config.teacher is not None
    cached.begin(0)
    classes, size = loop.train_loader.dataset.classes, config.distill.teacher_size
    online = LiveTeacher.load(config.teacher, config.data, classes, size=size)
    online.to(device, dtype_of(config.precision))
    steps = {
        "without": replace(loop.step, teacher=None, objective=Objective(SUPERVISED, config.label_smoothing)),
        "cached": loop.step,
        "online": replace(loop.step, teacher=online),
    }
    batches = partial(last_steps, loop.train_loader)
    return {name: Stepping(loop, batches, step=step) for name, step in steps.items()}
