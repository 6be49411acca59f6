"""The stages of a chain in words, for the log and for whoever waits."""

from __future__ import annotations

from pathlib import Path

from configs.figures import counted
from train.compress.config import CompressConfig
from train.config import Recipe
from train.prune.config import PruneConfig


def plan(config: CompressConfig) -> list[str]:
    """Return a line for each stage: what is trained, for how many epochs, and whether it is done already."""
    teaching, distillation, cuts = config.training(), config.distillation(), config.cutting()
    stages: list[tuple[str, str]] = []
    if teaching is not None:
        stages.append((teaching.run_dir, f"teacher: {teaching.model.name}, {_epochs(teaching)}"))
    taught = f" with the teacher {config.teacher}" if config.teacher else ""
    stages.append((distillation.run_dir, f"student: {distillation.student.name}, {_epochs(distillation)}{taught}"))
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
    last = _epochs(config) if config.final_epochs is None else f"{config.final_epochs:,}"
    each = f"{_epochs(config)} after each, " if steps > 1 else ""
    return f"cut: {counted(steps, 'cut')} to {named}, {each}{last} after the last"


def _epochs(recipe: Recipe) -> str:
    """8 epochs, or 8 epochs of 25 % of the images."""
    part = "" if recipe.epoch_share == 1 else f" of {100 * recipe.epoch_share:g} % of the images"
    return f"{counted(recipe.epochs, 'epoch')}{part}"


def _done(folder: str) -> str:
    return " (done)" if (Path(folder) / "done").exists() else ""
