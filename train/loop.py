"""One loop for every stage: epochs around step, evaluation, checkpoint and log."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor

from configs.figures import duration, percent
from configs.stopping import StoppedError
from data_pipes.batch import Batch
from data_pipes.executors.choice import Choice
from data_pipes.loader import Layout, PlanLoader
from data_pipes.sources.samples import Samples
from models.artefact import Card
from train import guards
from train.config import TrainConfig
from train.evaluate.evaluation import evaluate
from train.evaluate.metrics import Scores
from train.optim.schedule import Schedule
from train.processes import asked_to_stop
from train.progress import Bar, Pace, say_once
from train.run_folder import status
from train.run_folder.cadence import Cadence
from train.run_folder.extension import Extension
from train.run_folder.run_dir import RunDir
from train.state import TrainState
from train.step import Step
from train.track import epoch as epoch_row
from train.track import window as windows
from train.track.tracker import Tracker
from train.track.window import Totals, Window

logger = logging.getLogger(__name__)


@dataclass(kw_only=True, slots=True)
class Loop:
    """All parts of a run. `fit` trains until the end of the schedule or of patience."""

    config: TrainConfig
    accelerator: Accelerator
    layout: Layout
    train_loader: PlanLoader
    validation_loader: PlanLoader
    chosen: Choice
    """The executor of both loaders and of the one that reads the test split."""
    step: Step
    schedule: Schedule
    state: TrainState
    folder: RunDir
    card: Card
    """Metadata of model.safetensors, without scores and the cost of the trained weights."""
    test: Samples | None
    """The test split, read once, at the end. None: the data set has none, or config.test is false."""
    tracker: Tracker | None
    """None on all but the main process."""
    pace: Pace = field(default_factory=Pace)
    extensions: tuple[Extension, ...] = ()
    """Schedule and patience count from the beginning of the newest."""
    taught_N: Tensor | None = None
    """Class that the teacher predicts for each validation image; None: agreement on validation is not measured."""
    totals: Totals = field(default_factory=Totals)
    """Measurements of the epoch up to the last log line."""
    cadence: Cadence = field(init=False)
    counted: float = field(init=False)
    """Moment up to which `progress.seconds` has the time of this epoch."""

    def __post_init__(self) -> None:
        self.cadence = Cadence(minutes=self.config.checkpoint_minutes)

    def fit(self) -> None:
        """Train; `state.best` then holds the weights of the best epoch on validation."""
        with Bar(self.train_loader.steps, visible=self.accelerator.is_main_process) as bar:
            while not self.finished:
                if reason := asked_to_stop(self.accelerator):
                    if self.state.progress.total_steps:
                        self._save()
                    raise StoppedError(f"stopped: {reason}. The same command goes on from here")
                self.counted = time.monotonic()
                self._train_epoch(bar)
                self._end_epoch()

    def close(self) -> None:
        """End the loaders' threads."""
        self.train_loader.close()
        self.validation_loader.close()
        if self.step.teacher is not None:
            self.step.teacher.close()

    @property
    def finished(self) -> bool:
        """Whether the schedule or the patience is used up."""
        progress, patience = self.state.progress, self.config.patience
        first_epoch = self.extensions[-1].from_epoch if self.extensions else 0
        exhausted = patience > 0 and progress.epoch - max(progress.best_epoch, first_epoch - 1) > patience
        return progress.epoch >= self.config.epochs or exhausted

    def _train_epoch(self, bar: Bar) -> None:
        """Train to the end of the epoch."""
        progress, window, turn, clock = self.state.progress, self._window(), 0, self.step.clock
        self.totals = Totals.resumed(progress.measured, self.accelerator)
        clock.begin(progress.clock)
        self.step.model.train()
        if self.step.teacher is not None:
            with clock.waiting("teacher"):
                self.step.teacher.begin(progress.epoch)
        followed = progress.epoch + 1 < self.config.epochs
        batches = self.train_loader.epoch(progress.epoch, first_step=progress.step, followed=followed)
        for batch in clock.batches(batches):
            if turn == 0 and progress.step == self.train_loader.steps - 1:
                self.validation_loader.prepare(0)  # so that evaluation begins without a wait
            with clock.working("step"):
                measurements = self._micro_step(batch, turn)
            window.add(measurements, batch.real)
            turn = (turn + 1) % self.layout.accumulation
            if turn == 0:
                self._count_step()
                bar.show(progress.epoch, self.config.epochs, progress.step)
                self._estimate()
                window = self._log_and_save(window)
        self._check(window)
        self._stop_clock(window)
        self.totals = self.totals.plus(window.totals)

    def _estimate(self) -> None:
        """Say once how long the run will take, after its first steps."""
        steps = self.config.epochs * self.train_loader.steps
        left = self.pace.left(self.state.progress.total_steps, steps, time.monotonic())
        if left is not None:
            logger.info("about %s left in this training", duration(left))

    def _micro_step(self, batch: Batch, turn: int) -> dict[str, Tensor]:
        total_steps = self.state.progress.total_steps
        self.schedule.step_update(total_steps - (self.extensions[-1].from_step if self.extensions else 0))
        slot = turn * self.layout.world_size + self.layout.rank
        measurements, signals = self.step(batch, total_steps, slot)
        if total_steps == 0 and turn == 0:
            guards.require_logits(signals.logits_BK, "student")
        return measurements

    def _log_and_save(self, window: Window) -> Window:
        """Log, save and stop as due after an optimizer step; return a new window once the old one is logged."""
        progress, every = self.state.progress, self.config.checkpoint_steps
        due = progress.total_steps % self.config.track.every == 0
        within = progress.step < self.train_loader.steps
        reason = asked_to_stop(self.accelerator) if within and (due or self.layout.world_size == 1) else None
        if due:
            self._log_window(window)
        wanted = bool(every and progress.total_steps % every == 0) or (due and within and self._overdue())
        if within and (reason or wanted):
            self._check(window)
            guards.require_finite_weights(self.state.student, progress.total_steps)
            self._stop_clock(window)
            progress.measured = (self.totals if due else self.totals.plus(window.totals)).reduced(self.accelerator)
            progress.clock = self.step.clock.mean(self.accelerator)
            self._count_time()
            self._save()
            window.stop_clock()  # saving is no training
        if reason:
            where = f"step {progress.step} of epoch {progress.epoch + 1}"
            raise StoppedError(f"stopped at {where}: {reason}. The same command goes on from there")
        return self._window() if due else window

    def _overdue(self) -> bool:
        """Whether the main process finds that the last checkpoint is old. Collective."""
        if self.accelerator.num_processes == 1:
            return self.cadence.due
        due = torch.tensor(self.cadence.due, dtype=torch.int32, device=self.accelerator.device)
        return bool(broadcast(due))  # sync: log steps

    def _count_step(self) -> None:
        progress = self.state.progress
        rest = len(self.train_loader.dataset) - progress.step * self.layout.batch_size
        progress.images += min(self.layout.batch_size, rest)
        progress.step += 1
        progress.total_steps += 1
        if self.state.ema is not None:
            self.state.ema.update(self.state.student.net, step=progress.total_steps)

    def _count_time(self) -> None:
        now = time.monotonic()
        self.state.progress.seconds += now - self.counted
        self.counted = now

    def _end_epoch(self) -> None:
        progress = self.state.progress
        guards.require_finite_weights(self.state.student, progress.total_steps)
        with self.step.clock.waiting("evaluation"):
            scores = self.validate()
        values = self._measured(scores)
        better = self.state.keep_best(scores.correct)
        progress.epoch, progress.step, progress.measured, progress.clock = progress.epoch + 1, 0, {}, {}
        self._count_time()
        if self.tracker is not None:
            self.tracker.log(progress.total_steps, {"epoch": progress.epoch, **values})
        rate = progress.images / max(progress.train_seconds, 1e-9)
        star = "  best so far" if better else ""
        logger.info(
            "epoch %d/%d  loss %.4f  train %s  validation %s  %.0f images/s%s",
            *(progress.epoch, self.config.epochs, values["train/loss"], percent(values["train/accuracy"])),
            *(percent(scores.accuracy), rate, star),
        )
        self._save(always=self.finished)
        if self.accelerator.is_main_process:
            known = {"epoch": progress.epoch, "epochs": self.config.epochs, "seconds": round(progress.seconds, 1)}
            best = {"validation_accuracy": scores.accuracy, "best_epoch": progress.best_epoch + 1}
            status.note(self.folder.path, known | best)

    def _measured(self, scores: Scores) -> dict[str, float]:
        """Return the row of the epoch, and say once what limits the run. Collective."""
        reduced, seconds = self.totals.reduced(self.accelerator), self.step.clock.mean(self.accelerator)
        if (part := epoch_row.limit(seconds)) is not None:
            say_once(logger, epoch_row.profile(seconds), key=f"limited by {part}")
        return epoch_row.row(
            windows.means(reduced),
            seconds,
            scores,
            lr=self.state.optimizer.param_groups[0]["lr"],
            images=reduced["accuracy"][1],
            taught=self.step.teacher is not None,
            compared=self.taught_N is not None,
        )

    def validate(self) -> Scores:
        """Return scores of the evaluated weights on the validation split."""
        classes = len(self.validation_loader.dataset.classes)
        if self.accelerator.num_processes > 1:
            # BatchNorm's running statistics follow each process's own micro-batches; the main one's are saved.
            broadcast(list(self.state.evaluated.buffers()))
        batches = self.validation_loader.epoch(0)
        return evaluate(self.accelerator, self.state.evaluated, batches, classes, taught_N=self.taught_N)

    def _window(self) -> Window:
        finite = torch.ones((), dtype=torch.bool, device=self.accelerator.device)
        return Window(finite=finite, first_step=self.state.progress.total_steps)

    def _check(self, window: Window) -> None:
        """Raise on all processes if on any of them something was not finite.

        InputError: logits of the teacher. NonFiniteError: a loss.
        """
        teacher, steps = self.step.teacher, (window.first_step, self.state.progress.total_steps)
        taught = torch.as_tensor(True if teacher is None else teacher.finite, device=window.finite.device)
        bad = self.accelerator.reduce((~torch.stack([taught, window.finite])).float(), reduction="sum")
        if teacher is not None:
            guards.require_finite_teacher(bad[0] == 0, teacher.name, *steps)
        guards.require_finite(bad[1] == 0, *steps)

    def _log_window(self, window: Window) -> None:
        self._check(window)
        self._stop_clock(window)
        self.totals = self.totals.plus(window.totals)
        means = windows.means(window.totals.reduced(self.accelerator))
        means["lr"] = self.state.optimizer.param_groups[0]["lr"]
        if self.tracker is not None:
            values = {f"step/{name}": value for name, value in means.items()}
            self.tracker.log(self.state.progress.total_steps, values)

    def _stop_clock(self, window: Window) -> None:
        """Add the time since the last call to the training time, and what the device was timed at; after a sync."""
        seconds, clock = window.stop_clock(), self.step.clock
        self.state.progress.train_seconds += seconds
        clock.seconds["training"] += seconds
        clock.read()

    def _save(self, *, always: bool = True) -> None:
        if self.accelerator.is_main_process and (always or self.cadence.affordable):
            with self.cadence.writing():
                self.state.save(self.folder.checkpoints)
        self.accelerator.wait_for_everyone()
