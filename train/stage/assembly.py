"""From a config to a loop that is ready to run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import torch
from accelerate import Accelerator
from timm.utils import ModelEmaV3

from configs import reader
from configs.errors import InputError
from data_pipes.executors import choice
from data_pipes.executors.choice import Choice
from data_pipes.loader import PlanLoader
from data_pipes.sources.samples import Samples
from models import zoo
from models.artefact import Card
from models.pruning.masks import Masks
from train import guards, live_teacher
from train.cache import teacher as cached_teacher
from train.cache.filler import Filler
from train.config import DistillConfig, DistillSpec, TrainConfig
from train.evaluate.evaluation import evaluate
from train.live_teacher import LiveTeacher, Teacher
from train.loop import Loop
from train.loss.adapters import Adapters
from train.loss.objective import SUPERVISED, Objective
from train.optim import build_optimizer, build_schedule
from train.run_folder import extension
from train.run_folder.run_dir import RunDir
from train.stage import delivery
from train.state import Progress, TrainState
from train.step import Step
from train.student import Student, example_features
from train.track import wandb_start
from train.track.tracker import Tracker
from train.world import (
    by_main,
    dtype_of,
    evaluation_loader,
    load_splits,
    load_test,
    main_first,
    settled,
    training_layout,
    training_loader,
)

logger = logging.getLogger(__name__)


def assemble(config: TrainConfig, accelerator: Accelerator, folder: RunDir, stage: str) -> Loop:
    """Build everything, take up the newest checkpoint if there is one, and run the guards."""
    layout = training_layout(accelerator, config.batch_size, config.micro_batch_size)
    accelerator.gradient_accumulation_steps = layout.accumulation
    device, dtype = accelerator.device, dtype_of(config.precision)
    spec = config.distill if isinstance(config, DistillConfig) else SUPERVISED
    if spec.needs_teacher and isinstance(config, DistillConfig) and config.teacher is not None:
        live_teacher.require_fit(config.teacher, config.data, spec.teacher_size)
    train, validation = load_splits(accelerator, config.data)
    test = load_test(accelerator, config.data) if config.test else None
    teacher = _teacher(config, spec, train.classes)
    student = _student(config, spec, len(train.classes), teacher).to(device=device, dtype=dtype)
    student.to(memory_format=torch.channels_last)  # batches come so; 1.2 to 2 times faster on a CPU, too
    masks = Masks.of(student.net) if config.keep_zeros else None
    config, chosen = settled(config, accelerator, train)
    train_loader = training_loader(config, accelerator, train, layout)
    validation_loader = evaluation_loader(accelerator, validation, config.data, dtype)
    guards.require_repeatable(validation_loader.epoch(0), validation_loader.epoch(0))
    state = _state(config, student, accelerator)
    extensions = extension.read(folder)
    first_step = extensions[-1].from_step if extensions else 0
    pace = {"epochs": config.epochs, "steps_per_epoch": train_loader.steps, "first_step": first_step}
    schedule = build_schedule(config.optim, state.optimizer, **pace)
    resumed = main_first(accelerator, lambda: state.resume(folder.checkpoints))  # it clears away what a kill has left
    extension.require_reached(extensions, state.progress.total_steps, folder)
    _require_same_images(state.progress, (train, validation), folder)
    card = by_main(accelerator, lambda: _rehearsed(config, state, train, folder, stage))
    model, prepared = accelerator.prepare(student, state.optimizer)
    guards.require_live(state.optimizer, student)
    if teacher is not None:
        teacher.to(device, dtype)
        if not resumed:
            _check_teacher(teacher, spec.teacher_check, accelerator, validation, config)
    guide = _guide(config, teacher, train_loader, accelerator, chosen)
    step = Step(
        accelerator=accelerator,
        model=model,
        teacher=guide,
        objective=Objective(spec, config.label_smoothing),
        optimizer=prepared,
        clip_norm=config.optim.clip_norm,
        seed=config.seed,
        net=student.net,
        masks=masks,
    )
    loop = Loop(
        config=config,
        accelerator=accelerator,
        layout=layout,
        train_loader=train_loader,
        validation_loader=validation_loader,
        step=step,
        schedule=schedule,
        state=state,
        folder=folder,
        card=card,
        test=test,
        tracker=_tracker(config, state, folder, stage) if accelerator.is_main_process else None,
        extensions=extensions,
    )
    _introduce(loop, chosen, resumed)
    return loop


def _teacher(config: TrainConfig, spec: DistillSpec, classes: tuple[str, ...]) -> LiveTeacher | None:
    if not spec.needs_teacher:
        return None
    assert isinstance(config, DistillConfig) and config.teacher is not None
    return LiveTeacher.load(config.teacher, config.data, classes, layers=spec.teacher_layers, size=spec.teacher_size)


def _student(config: TrainConfig, spec: DistillSpec, classes: int, teacher: LiveTeacher | None) -> Student:
    input_CHW = (config.data.channels, *config.data.image_size)
    torch.manual_seed(config.seed)
    net = zoo.build(config.network, num_classes=classes, input_CHW=input_CHW)
    adapters = None
    if spec.hint > 0:
        assert teacher is not None
        theirs = example_features(teacher.net, spec.teacher_layers, torch.zeros(2, *teacher.input_CHW))
        ours = example_features(net, spec.student_layers, torch.zeros(2, *input_CHW))
        adapters = Adapters.fitting(ours, theirs)
    return Student(net, spec.student_layers, adapters)


def _state(config: TrainConfig, student: Student, accelerator: Accelerator) -> TrainState:
    optimizer = build_optimizer(config.optim, student)
    ema = ModelEmaV3(student.net, decay=config.ema, use_warmup=True) if config.ema > 0 else None
    return TrainState(student=student, optimizer=optimizer, ema=ema, scaler=accelerator.scaler)


def _rehearsed(config: TrainConfig, state: TrainState, samples: Samples, folder: RunDir, stage: str) -> Card:
    """The card of what will be saved; before the first step, saving and loading are tried as well."""
    lineage = delivery.lineage(config, samples, stage, extension.read(folder))
    card = delivery.card(config, state.evaluated, classes=samples.classes, lineage=lineage)
    if state.progress.total_steps == 0:
        delivery.rehearse(state.evaluated, card, folder)
    return card


def _require_same_images(progress: Progress, splits: Sequence[Samples], folder: RunDir) -> None:
    """InputError if a run would go on with other images than it began with; bad files may be left out since, say."""
    now = {samples.split: samples.fingerprint for samples in splits}
    if changed := [split for split, known in progress.data.items() if now[split] != known]:
        raise InputError(
            f"{' and '.join(changed)} in data.root: other images, labels or classes than the run in {folder.path} "
            "began with. Put them back, or choose another --run_dir"
        )
    progress.data = now


def _guide(
    config: TrainConfig, live: LiveTeacher | None, loader: PlanLoader, accelerator: Accelerator, chosen: Choice
) -> Teacher | None:
    """The teacher, or what it said: of a live one that is needed no more nothing is kept."""
    if live is None or not isinstance(config, DistillConfig) or config.distill.teacher_logits == "online":
        return live
    to_fill = config.distill.teacher_logits == "write_through"
    cache = cached_teacher.open_cache(config, loader, chosen, to_fill=to_fill)
    filler = Filler(cache, loader, live, accelerator)
    return cached_teacher.open_for_training(config, filler, config.view_numbers)


def _check_teacher(
    teacher: LiveTeacher, count: int, accelerator: Accelerator, validation: Samples, config: TrainConfig
) -> None:
    """Refuse a teacher that is far from the accuracy in its file, on some validation images."""
    recorded = teacher.card.scores.get("validation")
    if count == 0 or recorded is None:
        return
    few = validation.select(validation.spread(count))
    spec = replace(config.data, executor="host")  # a few images: no canvas
    loader = evaluation_loader(accelerator, few, spec, dtype_of(config.precision))
    scores = evaluate(accelerator, teacher.model, loader.epoch(0), len(validation.classes))
    loader.close()
    guards.require_accuracy(scores.correct, scores.count, recorded.accuracy, "validation")
    logger.info("teacher: %.1f %% of %d validation images are right", 100 * scores.accuracy, scores.count)


def _tracker(config: TrainConfig, state: TrainState, folder: RunDir, stage: str) -> Tracker:
    run = wandb_start.start(config.track, folder.path, config=reader.flat(config), stage=stage)
    return Tracker(folder.metrics, resume_step=state.progress.total_steps, run=run)


def _introduce(loop: Loop, chosen: Choice, resumed: bool) -> None:
    parameters = sum(p.numel() for p in loop.state.student.net.parameters())
    config, layout, progress = loop.config, loop.layout, loop.state.progress
    logger.info("executor: %s; %s", chosen.label, chosen.reason)
    logger.info("%s: %s parameters, on %s", config.network.name, f"{parameters:,}", loop.accelerator.device)
    logger.info(
        "%d epochs of %d steps of %d images: %d processes x %d at once x %d accumulated",
        *(config.epochs, loop.train_loader.steps, layout.batch_size),
        *(layout.world_size, layout.micro_batch_size, layout.accumulation),
    )
    if resumed and progress.total_steps:  # a cut hands over an optimizer, in a checkpoint of step 0
        logger.info("resumed at epoch %d, step %d", progress.epoch + 1, progress.step)
    now = choice.pixels(chosen, config.data)
    if progress.pixels not in (None, now):
        logger.warning(
            "the executor was %s and is now %s: samples, order and views stay the same, pixels may differ from "
            "those before the checkpoint",
            *(progress.pixels, now),
        )
    progress.pixels = now
