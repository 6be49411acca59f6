"""Configs of the training commands. Free of torch, so that --help and config errors answer at once."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Self

from configs.errors import require
from data_pipes.spec import LARGEST_BATCH, MAX_SEED, DataSpec
from models.own.code import Names, require_code
from models.spec import ModelSpec, names_file
from train.loss.config import SUPERVISED, DistillSpec

Tta = Literal["none", "hflip"]
"""Test-time augmentation: none, or the mean of the probabilities of an image and of its mirror image."""


CudaGraphs = Literal["auto", "always", "never"]
"""Whether forward and backward are recorded as CUDA graphs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimSpec:
    """Optimizer, learning rate and its schedule."""

    name: Literal["adamw", "sgd"] = "adamw"
    """adamw, or sgd with Nesterov momentum."""
    lr: float = 1e-3
    """Peak learning rate, for the global batch."""
    weight_decay: float = 0.0
    """Decoupled (adamw) or L2 (sgd) decay of weight matrices and kernels; biases and norms have none."""
    momentum: float = 0.9
    """Momentum of sgd; the first beta of adamw."""
    clip_norm: float = 0.0
    """Largest global norm of the gradients; larger ones are scaled down to it. 0: no clipping."""
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    """cosine falls to min_lr at the end; step multiplies by step_factor every step_epochs after the warm-up."""
    warmup_epochs: float = 0.0
    """Linear warm-up from zero, in epochs."""
    min_lr: float = 0.0
    """Learning rate at the end of the cosine schedule."""
    step_epochs: float = 30.0
    """Epochs between the drops of the step schedule."""
    step_factor: float = 0.1
    """Factor of each drop of the step schedule."""

    def __post_init__(self) -> None:
        require(self.lr > 0, "optim.lr", self.lr, "positive")
        require(0 <= self.min_lr <= self.lr, "optim.min_lr", self.min_lr, "between 0 and optim.lr")
        require(0 <= self.momentum < 1, "optim.momentum", self.momentum, "in [0, 1)")
        for key in ("weight_decay", "clip_norm", "warmup_epochs"):
            require(getattr(self, key) >= 0, f"optim.{key}", getattr(self, key), "at least 0")
        require(self.step_epochs > 0, "optim.step_epochs", self.step_epochs, "positive")
        require(0 < self.step_factor <= 1, "optim.step_factor", self.step_factor, "in (0, 1]")


PROJECT_LENGTH, PROJECT_LACKS = 128, "/\\#?%:"
PROJECT_RULE = f"a name of 1 to {PROJECT_LENGTH} characters, none of {' '.join(PROJECT_LACKS)}, which wandb refuses"


def is_project(name: str) -> bool:
    """Whether wandb accepts a name for a project; it refuses others when the run begins, offline too."""
    return 0 < len(name.strip()) <= len(name) <= PROJECT_LENGTH and not set(PROJECT_LACKS) & set(name)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackSpec:
    """What is measured and logged. metrics.jsonl is always written."""

    wandb: Literal["disabled", "online", "offline"] = "disabled"
    """offline writes wandb files without any network, and says at the end how to upload them. online does the same
    where there is no key or no server. wandb's own variables, such as WANDB_PROJECT and WANDB_NAME, win."""
    project: str = "heartcut"
    """wandb project."""
    group: str | None = None
    """wandb group. null: the sweep, or the chain that the run is a stage of."""
    tensorboard: bool = False
    """Write event files for TensorBoard into RUN/tensorboard; needs `pip install tensorboard`."""
    pictures: bool = True
    """Draw images.png, confusion.png and curves.png when a training ends, and ledger.png after each cut: about a second
    per run."""
    every: int = 50
    """Optimizer steps between two lines of metrics.jsonl. Each epoch has a line of its own."""
    agreement: bool = True
    """Count how often student and teacher agree on validation, too: the teacher answers each of its images once, before
    training. On training images they are compared in any case."""

    def __post_init__(self) -> None:
        require(self.every >= 1, "track.every", self.every, "at least 1")
        require(is_project(self.project), "track.project", self.project, PROJECT_RULE)
        theirs = os.environ.get("WANDB_PROJECT")
        if self.wandb != "disabled" and theirs:
            require(is_project(theirs), "WANDB_PROJECT", theirs, PROJECT_RULE)


TIMEOUT_MINUTES = 120.0
CHECKPOINT_MINUTES = 10.0
LONGEST_TIMEOUT = 10_000  # a week


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """Settings of a run that are not part of its recipe: folder, data, seeds, precision, logging."""

    run_dir: str
    """Folder of this run: config, metrics, checkpoints, weights, result. The same command again resumes it."""
    data: DataSpec
    """Data set, augmentation and loading."""
    seed: int = 0
    """Seeds the initial weights, the plan and dropout."""
    view_seed: int | None = None
    """Seeds the views instead of seed, so that runs with several seeds share a cache of teacher logits. null: seed."""
    precision: Literal["float32", "bf16", "fp16", "float64"] = "float32"
    """bf16 and fp16 are mixed precision; float64 is for checking equivalences."""
    deterministic: bool = False
    """The same bits from every run on one kind of GPU: deterministic algorithms only, and no TF32. Slower. An operator
    that has none is refused. On a CPU, results are so in any case."""
    cuda_graphs: CudaGraphs = "auto"
    """Record forward and backward once and replay them, so that the GPU need not wait for the host to launch kernels:
    the same sums in less time. auto: where launching takes most of a step, as it does for small networks. It takes one
    process, whole batches in one pass, and, unless always, a network that is not code of your own."""
    checkpoint_steps: int = 0
    """Checkpoint every so many optimizer steps, whatever it costs. 0: only as checkpoint_minutes says."""
    checkpoint_minutes: float = CHECKPOINT_MINUTES
    """Checkpoint within an epoch once the last one is so many minutes old. 0: only at ends of epochs. There, and here,
    it is left out where all of them would take more than 2 % of the time; the last epoch always has one."""
    network: Names = ()
    """Code that saved files need whose networks are of your own: PATH/my_net.py:StudentNet, or a list."""
    test: bool = True
    """Read the test split once, when training is over. false: never, for runs by which settings are chosen."""
    max_minutes: float | None = None
    """Save and stop after so many minutes, as at a SIGTERM; the same command goes on. null: no limit."""
    timeout_minutes: float = TIMEOUT_MINUTES
    """How long the processes of a run wait for one of them, for example while the main one indexes the images. One that
    gives no sign of life for 5 minutes, or for half of this time if that is less, is named, and the run ends."""
    track: TrackSpec = field(default_factory=TrackSpec)
    """Logging."""

    def __post_init__(self) -> None:
        require(bool(self.run_dir), "run_dir", self.run_dir, "a folder")
        require_code("network", self.network)
        for key in ("seed", "view_seed"):
            value = getattr(self, key)
            require(value is None or 0 <= value < MAX_SEED, key, value, "in [0, 2^63)")
        minutes = self.max_minutes
        require(minutes is None or minutes > 0, "max_minutes", minutes, "positive, or null")
        timeout = self.timeout_minutes
        require(0 < timeout <= LONGEST_TIMEOUT, "timeout_minutes", timeout, f"positive, at most {LONGEST_TIMEOUT:,}")
        require(self.checkpoint_steps >= 0, "checkpoint_steps", self.checkpoint_steps, "at least 0")
        age = self.checkpoint_minutes
        require(0 <= age <= LONGEST_TIMEOUT, "checkpoint_minutes", age, f"from 0 to {LONGEST_TIMEOUT:,}")

    @property
    def plan_seed(self) -> int:
        """Seed of the views."""
        return self.seed if self.view_seed is None else self.view_seed


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Epochs, batches and optimizer of a training."""

    epochs: int
    """Passes over the training split, or over epoch_share of it."""
    epoch_share: float = 1.0
    """Share of the training split that an epoch shows: whole steps, at least one, of an order that is drawn anew for
    each epoch. It makes the epochs between the cuts of a chain shorter; its final_epochs show the whole split."""
    views: int | None = None
    """Number of different views of the images; epoch e, counted from 0, shows view e modulo this. null: a new one each
    epoch."""
    batch_size: int = 128
    """Global batch: samples of one optimizer step, over all processes and micro-batches."""
    micro_batch_size: int | None = None
    """Samples of one forward pass; null: batch_size over the number of processes. Fix it to make the result independent
    of the number of GPUs (BatchNorm sees micro-batches)."""
    label_smoothing: float = 0.0
    """Share of each hard label spread over all classes."""
    ema: float = 0.0
    """Decay of the moving average of the weights, which is then what is evaluated and saved. 0: none."""
    patience: int = 0
    """Stop after this many epochs without a better validation accuracy. 0: never."""
    optim: OptimSpec = field(default_factory=OptimSpec)
    """Optimizer and schedule."""

    def __post_init__(self) -> None:
        require(self.epochs >= 1, "epochs", self.epochs, "at least 1")
        require(0 < self.epoch_share <= 1, "epoch_share", self.epoch_share, "above 0, at most 1")
        require(1 <= self.batch_size <= LARGEST_BATCH, "batch_size", self.batch_size, f"from 1 to {LARGEST_BATCH:,}")
        require(self.views is None or self.views >= 1, "views", self.views, "at least 1, or null")
        require(self.patience >= 0, "patience", self.patience, "at least 0")
        for key in ("label_smoothing", "ema"):
            require(0 <= getattr(self, key) < 1, key, getattr(self, key), "in [0, 1)")
        micro = self.micro_batch_size
        require(micro is None or micro >= 1, "micro_batch_size", micro, "at least 1, or null")

    @property
    def passes(self) -> float:
        """Passes over the training split."""
        return self.epochs * self.epoch_share


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Recipe, RunSpec):
    """Settings that all training stages share."""

    keep_zeros: bool = False
    """Weights that are zero in the file that training starts from stay zero, as after an unstructured cut."""
    first_epoch: int = 0
    """Epochs trained by earlier runs of the chain; sample order and views continue from there."""
    extend: bool = False
    """Go on with a finished run from its last state, up to `epochs` in all. The learning rate follows a new schedule
    over the epochs that are added; only epochs and optim may differ from before."""

    def __post_init__(self) -> None:
        RunSpec.__post_init__(self)
        Recipe.__post_init__(self)
        known = names_file(self.trained.name) and not self.trained.from_scratch
        require(self.first_epoch >= 0, "first_epoch", self.first_epoch, "at least 0")
        require(known or not self.keep_zeros, "keep_zeros", True, "false, unless training starts from a saved file")

    @property
    def trained(self) -> ModelSpec:
        """The network that is trained."""
        raise NotImplementedError

    @property
    def trained_key(self) -> str:
        """The section of the config that says so."""
        raise NotImplementedError

    @property
    def loss(self) -> DistillSpec:
        """The loss: labels alone, unless a stage has a teacher."""
        return SUPERVISED

    @property
    def teacher_file(self) -> str | None:
        """The teacher's file, or the name of published weights; None if the loss needs no teacher."""
        return None

    def starting_from(self, network: str, teacher: str | None) -> Self:
        """Return this config with the files that were made of the network and the teacher that it names."""
        raise NotImplementedError

    @property
    def view_numbers(self) -> range:
        """Views that the run shows; not all of them if patience ends it early."""
        if self.views is not None:
            return range(self.views)
        return range(self.first_epoch, self.first_epoch + self.epochs)


@dataclass(frozen=True, kw_only=True)
class TeacherConfig(TrainConfig):
    """Supervised training, for example of a teacher."""

    model: ModelSpec
    """The network to train."""

    @property
    def trained(self) -> ModelSpec:
        """The network that is trained."""
        return self.model

    @property
    def trained_key(self) -> str:
        """The section of the config that says so."""
        return "model"

    def starting_from(self, network: str, teacher: str | None) -> Self:
        """Return this config with the file that was made of the network that it names."""
        return replace(self, model=_from_file(self.model, network))


@dataclass(frozen=True, kw_only=True)
class DistillConfig(TrainConfig):
    """Distillation of a teacher into a student."""

    student: ModelSpec
    """The network to train."""
    teacher: str | None = None
    """The teacher: a .safetensors file as train.teacher writes it, a state dict from elsewhere (.pth, .ckpt, ...), or
    published weights (timm/NAME, torchvision/NAME, hf-hub:NAME). May be null for the control without: distill.alpha,
    hint and attention 0."""
    distill: DistillSpec = field(default_factory=DistillSpec)
    """The loss."""

    def __post_init__(self) -> None:
        TrainConfig.__post_init__(self)
        require(
            self.teacher is not None or not self.distill.needs_teacher,
            "teacher",
            self.teacher,
            "a .safetensors file, as train.teacher writes into its run folder, or a state dict such as teacher.pth "
            "(or set distill.alpha to 0)",
        )

    @property
    def trained(self) -> ModelSpec:
        """The network that is trained."""
        return self.student

    @property
    def trained_key(self) -> str:
        """The section of the config that says so."""
        return "student"

    @property
    def loss(self) -> DistillSpec:
        """The loss."""
        return self.distill

    @property
    def teacher_file(self) -> str | None:
        """The teacher's file, or the name of published weights; None if the loss needs no teacher."""
        return self.teacher if self.distill.needs_teacher else None

    def starting_from(self, network: str, teacher: str | None) -> Self:
        """Return this config with the files that were made of the student and the teacher that it names."""
        return replace(self, student=_from_file(self.student, network), teacher=teacher)


def _from_file(model: ModelSpec, name: str) -> ModelSpec:
    """Return the spec of a file that was made of a network, whose settings are in the file."""
    return model if name == model.name else ModelSpec(name=name)


def field_values(config: object, cls: type) -> dict[str, Any]:
    """The values that a config has for the fields of another dataclass."""
    return {declared.name: getattr(config, declared.name) for declared in fields(cls)}
