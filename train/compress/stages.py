"""The stages of a chain in words, for the log and for whoever waits."""

from __future__ import annotations

from pathlib import Path

from configs.figures import counted
from train.compress.config import CompressConfig
from train.prune.config import PruneConfig


def plan(config: CompressConfig) -> list[str]:
    """Return a line for each stage: what is trained, for how many epochs, and whether it is done already."""
    teaching, distillation, cuts = config.training(), config.distillation(), config.cutting()
    stages: list[tuple[str, str]] = []
    if teaching is not None:
        stages.append((teaching.run_dir, f"teacher: {teaching.model.name}, {counted(teaching.epochs, 'epoch')}"))
    taught = f" with the teacher {config.teacher}" if config.teacher else ""
    length = counted(distillation.epochs, "epoch")
    stages.append((distillation.run_dir, f"student: {distillation.student.name}, {length}{taught}"))
    stages.append((cuts.run_dir, _cuts(cuts)))
    split = "test, or validation without one" if config.test else "validation"
    stages.append((config.run_dir, f"scores on {split}{', model.onnx beside the teacher' * config.onnx}"))
    return [
        f"{number} of {len(stages)}  {text}{_done(folder)}" for number, (folder, text) in enumerate(stages, start=1)
    ]


def _cuts(config: PruneConfig) -> str:
    budget, steps = config.prune.budget, config.prune.steps
    limits = {"parameters": budget.parameters, "MACs": budget.macs}
    named = " and ".join(f"{limit:,} {unit}" for unit, limit in limits.items() if limit is not None)
    each = config.epochs * config.epoch_share
    last = each if config.final_epochs is None else config.final_epochs
    between = f"{each:g} epoch{'s' * (each != 1)} after each, " if steps > 1 else ""
    return f"cut: {counted(steps, 'cut')} to {named}, {between}{last:g} after the last"


def _done(folder: str) -> str:
    return " (done)" if (Path(folder) / "done").exists() else ""
