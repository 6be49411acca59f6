"""Controls for train.prune and train.compress: the runs that say what a chain of cuts is worth. Free of torch.

    scratch       the architecture that the main run ended with, trained anew for as many epochs as the chain had in all
    no_teacher    the same chain, with the weight of every term of the loss that needs a teacher at 0
    uniform       the same chain, with the same share cut from every layer

To add one: a function here, a row of CONTROLS, and its name in launch.sweep_folder.CONTROLS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from configs import reader, records
from configs.errors import UsageError, UserError
from launch.submit import outcome
from models.pruning.spec import PruneSpec
from models.spec import ModelSpec
from train.compress.config import CompressConfig
from train.config import DistillConfig, Recipe, TeacherConfig, field_values
from train.loss.config import TERMS, DistillSpec
from train.prune.config import PruneConfig

Main = PruneConfig | CompressConfig
CONTROLLED = ("train.compress", "train.prune")
"""Commands that have controls."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Control:
    """A run beside a main run of the same seed."""

    command: str
    config: Any
    """Where it differs from run to run, it names {parent}, the folder of the main run."""
    words: tuple[str, ...] = ()
    """Options that name files of the main run. Without any, it does not wait for the main run."""
    note: str = ""
    """A remark about how it was made."""


def scratch(config: Main) -> Control:
    """Train the architecture of the main run's result anew, with the teacher. UsageError: nothing is cut out."""
    cuts = config.cutting() if isinstance(config, CompressConfig) else config
    _require_structured("scratch", cuts.prune, "a network of masks has no smaller architecture")
    student = ModelSpec(name="{parent}/model.safetensors", from_scratch=True)
    if isinstance(config, CompressConfig):
        training = config.distillation()
        before = training.passes
        told = f" and {_epochs(before)} of the student, with the student's recipe"
    else:
        training, before, told = _retrained(config)
    made = replace(
        _in_whole_epochs(training),
        run_dir="scratch",
        student=student,
        teacher=_teacher(config),
        epochs=max(round(cuts.passes + before), 1),
        first_epoch=0,
        keep_zeros=False,
        track=config.track,
        distill=_answering(training),
    )
    note = f"scratch: trained for the {_epochs(cuts.passes)} of the cuts{told}"
    words = (f"--student.name={student.name}", *_teacher_words(config))
    return Control(command="train.distill", config=made, words=words, note=note)


def no_teacher(config: Main) -> Control:
    """Repeat the chain without a teacher in the loss. UsageError: the main run has none either."""
    losses = [config.distill] if isinstance(config, PruneConfig) else [config.student.distill, config.cutting().distill]
    if not any(loss.needs_teacher for loss in losses):
        raise UsageError("no_teacher: the config has no teacher in its loss; leave this control out")
    if isinstance(config, PruneConfig):
        alone = replace(config, run_dir="no_teacher", teacher=None, distill=_alone(config.distill), final_alpha=None)
        return Control(command="train.prune", config=alone)
    cut = replace(config.cut, distill=config.cut.distill and _alone(config.cut.distill), final_alpha=None)
    made = replace(
        config,
        run_dir="no_teacher",
        teacher=_teacher(config),  # nothing is learnt from it: what the result agrees with, as in the main run
        teacher_training=None,
        student=replace(config.student, distill=_alone(config.student.distill)),
        cut=cut,
        onnx=False,
        card=False,
    )
    return Control(command="train.compress", config=made, words=_teacher_words(config))


def uniform(config: Main) -> Control:
    """Cut the same share of every layer. UsageError: the main run does so too, or cuts no channels."""
    cuts = config.cutting() if isinstance(config, CompressConfig) else config
    _require_structured("uniform", cuts.prune, "single weights are ranked over the whole network")
    if cuts.prune.ranking == "local":
        raise UsageError("uniform: prune.ranking is local, which cuts uniformly already; leave this control out")
    prune = replace(cuts.prune, ranking="local", cost_normalised=False)
    made = replace(cuts, run_dir="uniform", prune=prune, teacher=_teacher(config), track=config.track)
    if isinstance(config, PruneConfig):
        return Control(command="train.prune", config=made)
    student = ModelSpec(name="{parent}/student/model.safetensors")
    words = (f"--student.name={student.name}", *_teacher_words(config))
    return Control(command="train.prune", config=replace(made, student=student), words=words)


CONTROLS: dict[str, Callable[[Main], Control]] = {"scratch": scratch, "no_teacher": no_teacher, "uniform": uniform}
"""By their names."""


def _teacher(config: Main) -> str | None:
    """The teacher's file: the one that the config names, or the one that the main run trains."""
    trained = isinstance(config, CompressConfig) and config.teacher is None
    return "{parent}/teacher/model.safetensors" if trained else config.teacher


def _teacher_words(config: Main) -> tuple[str, ...]:
    named = _teacher(config)
    return () if named == config.teacher else (f"--teacher={named}",)


def _epochs(passes: float) -> str:
    """1 epoch, 12.5 epochs."""
    return f"{passes:g} epoch{'s' * (passes != 1)}"


def _in_whole_epochs(training: DistillConfig) -> DistillConfig:
    """The same training, with epochs that show all images, and with what is counted in epochs converted."""
    share, optim = training.epoch_share, training.optim
    converted = replace(optim, warmup_epochs=optim.warmup_epochs * share, step_epochs=optim.step_epochs * share)
    patience = training.patience and max(round(training.patience * share), 1)
    return replace(training, epoch_share=1.0, optim=converted, patience=patience)


def _retrained(config: PruneConfig) -> tuple[DistillConfig, float, str]:
    """A training like that of the starting student, its passes, and a remark about both.

    It is a training like those after the cuts if the student's run is not there.
    """
    own = DistillConfig(**field_values(config, DistillConfig))
    home = Path(config.student.name).parent
    before = outcome.passes(home)
    recipe = _recipe(home) if before else None
    if recipe is not None:
        own = replace(own, **field_values(recipe, Recipe) | {"views": config.views})
    told = f" and {_epochs(before)} of {home}" if before else f"; {home} is no finished run, and adds none"
    return own, before, f"{told}, with the recipe of {'the cuts' if recipe is None else home}"


def _recipe(home: Path) -> Recipe | None:
    """The recipe of a run of train.teacher or train.distill; None: it is no such run."""
    path = home / "config.yaml"
    try:
        keys = records.from_yaml(path).keys()
        if "prune" in keys or not keys & {"student", "model"}:
            return None
        cls: type[Recipe] = DistillConfig if "student" in keys else TeacherConfig
        return reader.read(cls, ["--config", str(path)], prog=str(path), description="")
    except UserError:
        return None


def _alone(loss: DistillSpec) -> DistillSpec:
    """The loss without the terms that need a teacher."""
    weights: dict[str, Any] = {term.key: 0.0 for term in TERMS if term.needs}
    return replace(loss, **weights, teacher_logits="online", cache=None)


def _answering(training: DistillConfig) -> DistillSpec:
    """The loss, with a teacher that answers every batch where its cache would lack the views of more epochs."""
    lacking = training.distill.teacher_logits == "cached" and training.views is None
    return replace(training.distill, teacher_logits="online", cache=None) if lacking else training.distill


def _require_structured(name: str, prune: PruneSpec, why: str) -> None:
    if prune.kind != "structured":
        raise UsageError(f"{name}: prune.kind is {prune.kind}: {why}; leave this control out")
