"""A loop built from its config, ready to run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from accelerate import Accelerator

from configs import reader
from configs.errors import InputError, under
from configs.figures import counted
from data_pipes.executors import choice
from data_pipes.loader import Layout
from data_pipes.sources import source
from data_pipes.sources.samples import Samples
from data_pipes.spec import DataSpec
from models import zoo
from models.artefact import Card
from models.networks import skeletons
from models.pruning.masks import Masks
from train import graphs, guards, live_teacher
from train.cache import teacher as cached_teacher
from train.cache.filler import Filler
from train.config import TrainConfig
from train.evaluate import teacher_answers, teacher_check
from train.live_teacher import LiveTeacher, Teacher
from train.loaders import Data, training_data, training_layout
from train.loop import Loop
from train.loss.adapters import Adapters
from train.loss.objective import Objective
from train.optim.moving_average import MovingAverage
from train.optim.optimizer import build_optimizer
from train.optim.schedule import Schedule, build_schedule
from train.processes import by_main, dtype_of, image_dtype_of, main_first, prepare, search_algorithms
from train.progress import say_once
from train.run_folder import extension, own_code, split_record
from train.run_folder.extension import Extension
from train.run_folder.run_dir import RunDir
from train.stage import delivery, origin
from train.state import Progress, TrainState
from train.step import Step
from train.student import Student, example_features
from train.track import wandb_start
from train.track.clock import Clock
from train.track.tensorboard_run import TensorBoardRun
from train.track.tracker import Tracker

logger = logging.getLogger(__name__)


def assemble(config: TrainConfig, accelerator: Accelerator, folder: RunDir, stage: str) -> Loop:
    """Build a run, load its newest checkpoint if there is one, and run the guards."""
    own_code.register(config, folder)
    layout = training_layout(accelerator, config.batch_size, config.micro_batch_size)
    accelerator.gradient_accumulation_steps = layout.accumulation
    if config.teacher_file is not None:
        live_teacher.require_fit(config.teacher_file, config.data, config.loss.teacher_size)
    data = training_data(config, accelerator, layout)
    search_algorithms(config.epochs * data.train_loader.steps)
    teacher = _teacher(config, data.train.classes)
    state = _state(config, data.train.classes, teacher, accelerator)
    masks = Masks.of(state.student.net) if config.keep_zeros else None  # before a checkpoint is loaded
    extensions = extension.read(folder)
    schedule = _schedule(config, state, data, extensions)
    step = _step(config, state, masks, accelerator)  # before loading: it moves all of an optimizer's state
    resumed = _resume(state, config.data, data, extensions, folder, accelerator)
    now = by_main(accelerator, lambda: origin.of(config, layout.micro_batch_size))
    origin.require_same(state.progress.origin, now, folder, extended=bool(extensions))
    state.progress.origin = now
    by_main(accelerator, lambda: split_record.keep(folder.path, (data.train, data.validation), cut=data.cut))
    card = by_main(accelerator, lambda: _card(config, state, data.train, folder, stage))
    blank = partial(_blank, config, layout, accelerator)
    graphs.record(step.model, blank, accelerator, config.cuda_graphs, network=card.model.name)
    taught_N = None
    if teacher is not None:
        teacher.to(accelerator.device, dtype_of(config.precision))
        taught_N = teacher_answers.on_validation(teacher, config, data, accelerator) if config.track.agreement else None
        step = replace(step, teacher=_ready(teacher, config, data, accelerator, check=not resumed))
    loop = Loop(
        config=config,
        accelerator=accelerator,
        layout=layout,
        train_loader=data.train_loader,
        validation_loader=data.validation_loader,
        chosen=data.chosen,
        step=step,
        schedule=schedule,
        state=state,
        folder=folder,
        card=card,
        test=data.test,
        tracker=_tracker(config, state, folder, stage) if accelerator.is_main_process else None,
        extensions=extensions,
        taught_N=taught_N,
    )
    _announce(loop, resumed)
    return loop


def _teacher(config: TrainConfig, classes: tuple[str, ...]) -> LiveTeacher | None:
    if config.teacher_file is None:
        return None
    layers, size = config.loss.teacher_layers, config.loss.teacher_size
    return LiveTeacher.load(config.teacher_file, config.data, classes, layers=layers, size=size)


def _state(
    config: TrainConfig, classes: tuple[str, ...], teacher: LiveTeacher | None, accelerator: Accelerator
) -> TrainState:
    student = _student(config, classes, teacher).to(device=accelerator.device, dtype=dtype_of(config.precision))
    student.to(memory_format=torch.channels_last)  # batches come so; 1.2 to 2 times faster on a CPU, too
    optimizer = build_optimizer(config.optim, student)
    ema = MovingAverage(student.net, config.ema) if config.ema > 0 else None
    if accelerator.scaler is not None:  # an earlier stage of this process has adapted its scale
        accelerator.scaler.load_state_dict(torch.amp.GradScaler(accelerator.device.type).state_dict())
    return TrainState(student=student, optimizer=optimizer, ema=ema, scaler=accelerator.scaler)


def _student(config: TrainConfig, classes: tuple[str, ...], teacher: LiveTeacher | None) -> Student:
    input_CHW = (config.data.channels, *config.data.image_size)
    torch.manual_seed(config.seed)
    with under(config.trained_key):
        net = zoo.build(config.trained, num_classes=len(classes), input_CHW=input_CHW)
    adapters = None
    if config.loss.adapted_layers:
        assert teacher is not None
        theirs = example_features(teacher.net, config.loss.teacher_layers, torch.zeros(2, *teacher.input_CHW))
        ours = example_features(net, config.loss.adapted_layers, torch.zeros(2, *input_CHW))
        adapters = Adapters.fitting(ours, theirs)
    return Student(net, config.loss.student_layers, adapters, own_features=config.loss.needs_own_features)


def _schedule(config: TrainConfig, state: TrainState, data: Data, extensions: Sequence[Extension]) -> Schedule:
    first_step = extensions[-1].from_step if extensions else 0
    steps = data.train_loader.steps
    return build_schedule(
        config.optim, state.optimizer, epochs=config.epochs, steps_per_epoch=steps, first_step=first_step
    )


def _resume(
    state: TrainState,
    spec: DataSpec,
    data: Data,
    extensions: tuple[Extension, ...],
    folder: RunDir,
    accelerator: Accelerator,
) -> bool:
    """Load the newest checkpoint if there is one; InputError if the run cannot go on from it with these images."""
    resumed = main_first(
        accelerator, lambda: state.resume(folder.checkpoints)
    )  # it removes leftovers of a killed process
    extension.require_reached(extensions, state.progress.total_steps, folder)
    _require_same_images(state.progress, spec, (data.train, data.validation), folder)
    return resumed


def _step(config: TrainConfig, state: TrainState, masks: Masks | None, accelerator: Accelerator) -> Step:
    """Prepare the student for all processes. The step has no teacher yet."""
    model, prepared = prepare(accelerator, state.student, state.optimizer)
    guards.require_live(state.optimizer, state.student)
    return Step(
        accelerator=accelerator,
        model=model,
        teacher=None,
        objective=Objective(config.loss, config.label_smoothing),
        optimizer=prepared,
        clip_norm=config.optim.clip_norm,
        seed=config.seed,
        held=None if masks is None else masks.on(state.student.net),
        clock=Clock(accelerator.device),
    )


def _blank(config: TrainConfig, layout: Layout, accelerator: Accelerator) -> torch.Tensor:
    """Images like those of a micro-batch."""
    shape = (layout.micro_batch_size, config.data.channels, *config.data.image_size)
    blank_BCHW = torch.zeros(shape, dtype=image_dtype_of(config.precision), device=accelerator.device)
    return blank_BCHW.to(memory_format=torch.channels_last)


def _card(config: TrainConfig, state: TrainState, samples: Samples, folder: RunDir, stage: str) -> Card:
    """Return the card of the file to be saved; before the first step, try to save and load the network."""
    lineage = delivery.lineage(config, samples, stage, extension.read(folder))
    card = delivery.card(config, state.evaluated, classes=samples.classes, lineage=lineage)
    if state.progress.total_steps == 0:
        delivery.require_saveable(state.evaluated, card, folder)
    return card


def _require_same_images(progress: Progress, spec: DataSpec, splits: Sequence[Samples], folder: RunDir) -> None:
    """InputError if the images are not those that the run began with, for example without files that were bad."""
    now = {samples.split: samples.fingerprint for samples in splits}
    if changed := [split for split, known in progress.data.items() if now[split] != known]:
        if source.is_cut(spec) and source.cut_by_position(spec)[0].fingerprint == progress.data.get("train"):
            raise InputError(
                f"the run in {folder.path} began when a validation split was cut by the position of files; now it is "
                "cut by their content. Finish it with the version that began it, or choose another --run_dir"
            )
        raise InputError(
            f"{' and '.join(changed)} in data.root: other images, labels or classes than the run in {folder.path} "
            "began with. Put them back, or choose another --run_dir"
        )
    progress.data = now


def _ready(live: LiveTeacher, config: TrainConfig, data: Data, accelerator: Accelerator, *, check: bool) -> Teacher:
    """Put the teacher to the test if asked to, and put the cache in front of it if there is one.

    Nothing keeps a live teacher that a cache replaces.
    """
    if check:
        teacher_check.check(live, config, data.validation, accelerator)
    if config.loss.teacher_logits == "online":
        return live
    to_fill = config.loss.teacher_logits == "write_through"
    cache = cached_teacher.open_cache(config, data.train_loader, data.chosen, to_fill=to_fill)
    filler = Filler(cache, data.train_loader, live, accelerator)
    return cached_teacher.open_for_training(config, filler, config.view_numbers)


def _tracker(config: TrainConfig, state: TrainState, folder: RunDir, stage: str) -> Tracker:
    run = wandb_start.start(config.track, folder.path, config=reader.flat(config), stage=stage)
    board = TensorBoardRun.start(folder.path, wanted=config.track.tensorboard)
    return Tracker(folder.metrics, resume_step=state.progress.total_steps, run=run, board=board)


def _announce_stem(loop: Loop) -> None:
    if loop.accelerator.is_main_process:
        config, card = loop.config, loop.card
        key = f"{config.trained_key}.stem"
        text = skeletons.stem_costs(config.trained, num_classes=len(card.classes), input_CHW=card.input_CHW, key=key)
        if text is not None:
            logger.info("%s", text)


def _announce(loop: Loop, resumed: bool) -> None:
    chosen = loop.chosen
    parameters = sum(p.numel() for p in loop.state.student.net.parameters())
    config, layout, progress = loop.config, loop.layout, loop.state.progress
    say_once(logger, f"executor: {chosen.label}; {chosen.reason}")
    logger.info("%s: %s parameters, on %s", config.trained.name, f"{parameters:,}", loop.accelerator.device)
    _announce_stem(loop)
    logger.info(
        "%s of %s of %d images: %s x %d at once x %d accumulated",
        *(counted(config.epochs, "epoch"), counted(loop.train_loader.steps, "step"), layout.batch_size),
        *(counted(layout.world_size, "process"), layout.micro_batch_size, layout.accumulation),
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
