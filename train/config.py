"""What a user may say about training. Free of torch, so that --help and config errors answer at once."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Literal

from configs.errors import require
from data_pipes.spec import MAX_SEED, DataSpec
from models.spec import ModelSpec

TeacherSize = Literal["student", "own"]


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
    """Gradients are scaled down to this global norm. 0: never."""
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    """cosine falls to min_lr at the end; step multiplies by step_factor every step_epochs after the warm-up."""
    warmup_epochs: float = 0.0
    """Linear warm-up from zero, in epochs."""
    min_lr: float = 0.0
    """Where cosine ends."""
    step_epochs: float = 30.0
    """Epochs between the drops of the step schedule."""
    step_factor: float = 0.1
    """What each drop multiplies by."""

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
    """Whether wandb takes a name for a project; it would refuse it when the run begins, offline too."""
    return 0 < len(name.strip()) <= len(name) <= PROJECT_LENGTH and not set(PROJECT_LACKS) & set(name)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackSpec:
    """Where measurements go besides metrics.jsonl, which is always written."""

    wandb: Literal["disabled", "online", "offline"] = "disabled"
    """offline writes wandb files without any network, and says at the end how to upload them. online does the same
    where there is no key or no server. wandb's own variables, such as WANDB_PROJECT and WANDB_NAME, win."""
    project: str = "heartcut"
    """wandb project."""
    group: str | None = None
    """wandb group. null: the sweep, or the chain that the run is a stage of."""
    every: int = 50
    """Optimizer steps between two lines of metrics.jsonl."""

    def __post_init__(self) -> None:
        require(self.every >= 1, "track.every", self.every, "at least 1")
        require(is_project(self.project), "track.project", self.project, PROJECT_RULE)
        theirs = os.environ.get("WANDB_PROJECT")
        if self.wandb != "disabled" and theirs:
            require(is_project(theirs), "WANDB_PROJECT", theirs, PROJECT_RULE)


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """What concerns a run and not its recipe: where, on what data, how exactly, how closely watched."""

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
    checkpoint_steps: int = 0
    """Checkpoint every so many optimizer steps, and at each end of an epoch. 0: only there."""
    test: bool = True
    """Read the test split once, when training is over. false: never, for runs by which settings are chosen."""
    max_minutes: float | None = None
    """Save and stop after so many minutes, as at a SIGTERM; the same command goes on. null: no limit."""
    track: TrackSpec = field(default_factory=TrackSpec)
    """Logging."""

    def __post_init__(self) -> None:
        require(bool(self.run_dir), "run_dir", self.run_dir, "a folder")
        for key in ("seed", "view_seed"):
            value = getattr(self, key)
            require(value is None or 0 <= value < MAX_SEED, key, value, "in [0, 2^63)")
        minutes = self.max_minutes
        require(minutes is None or minutes > 0, "max_minutes", minutes, "positive, or null")
        require(self.checkpoint_steps >= 0, "checkpoint_steps", self.checkpoint_steps, "at least 0")

    @property
    def plan_seed(self) -> int:
        """Seed of the views."""
        return self.seed if self.view_seed is None else self.view_seed


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How long and by what steps a network is trained."""

    epochs: int
    """Passes over the training split."""
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
        for key in ("epochs", "batch_size"):
            require(getattr(self, key) >= 1, key, getattr(self, key), "at least 1")
        require(self.views is None or self.views >= 1, "views", self.views, "at least 1, or null")
        require(self.patience >= 0, "patience", self.patience, "at least 0")
        for key in ("label_smoothing", "ema"):
            require(0 <= getattr(self, key) < 1, key, getattr(self, key), "in [0, 1)")
        micro = self.micro_batch_size
        require(micro is None or micro >= 1, "micro_batch_size", micro, "at least 1, or null")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Recipe, RunSpec):
    """What every training stage shares."""

    keep_zeros: bool = False
    """Weights that are zero in the file that training starts from stay zero, as after an unstructured cut."""
    first_epoch: int = 0
    """Epochs that runs before this one have shown: orders and views go on behind theirs."""
    extend: bool = False
    """Go on with a finished run from its last state, up to `epochs` in all. The learning rate follows a new schedule
    over the epochs that are added; only epochs and optim may differ from before."""

    def __post_init__(self) -> None:
        RunSpec.__post_init__(self)
        Recipe.__post_init__(self)
        known = self.network.name.endswith(".safetensors") and not self.network.from_scratch
        require(self.first_epoch >= 0, "first_epoch", self.first_epoch, "at least 0")
        require(known or not self.keep_zeros, "keep_zeros", True, "false, unless training starts from a saved file")

    @property
    def network(self) -> ModelSpec:
        """The network that is trained."""
        raise NotImplementedError

    @property
    def view_numbers(self) -> range:
        """The views that are shown; not all of them if patience ends the run."""
        if self.views is not None:
            return range(self.views)
        return range(self.first_epoch, self.first_epoch + self.epochs)


@dataclass(frozen=True, kw_only=True)
class TeacherConfig(TrainConfig):
    """Supervised training, for example of a teacher."""

    model: ModelSpec
    """The network to train."""

    @property
    def network(self) -> ModelSpec:
        """The network that is trained."""
        return self.model


@dataclass(frozen=True, kw_only=True, slots=True)
class DistillSpec:
    """loss = (1 - alpha) cross-entropy + alpha soft + hint + attention, each a named term in the metrics."""

    alpha: float = 0.5
    """Weight of the teacher's soft targets; the labels have 1 - alpha. 0: no teacher logits."""
    soft: Literal["kd", "dkd"] = "kd"
    """kd: KL divergence at the temperature, times its square. dkd: target and other classes apart."""
    temperature: float = 4.0
    """Divides both networks' logits."""
    dkd_target: float = 1.0
    """Weight of dkd's target-class part."""
    dkd_others: float = 8.0
    """Weight of dkd's part over the other classes."""
    hint: float = 0.0
    """Weight of the mean squared error between adapted student features and teacher features."""
    attention: float = 0.0
    """Weight of attention transfer between the layer pairs."""
    layers: tuple[tuple[str, str], ...] = ()
    """Pairs [student module, teacher module] for hint and attention, for example [[stages.2, layer3]]."""
    teacher_check: int = 512
    """Validation images on which the teacher must come near its recorded accuracy before training starts. 0: none."""
    teacher_size: TeacherSize = "student"
    """Size of the images that the teacher sees. student: data.image_size, as the student. own: the same views, resized
    to the size in the teacher's file (bilinear, with antialiasing), which costs the teacher's forward at that size."""
    teacher_logits: Literal["online", "cached", "write_through"] = "online"
    """online: the teacher answers every batch. cached: its logits are read from distill.cache, where train.cache put
    them. write_through: likewise, and a view that is not there yet is put there before its first epoch."""
    cache: str | None = None
    """Folder of the teacher's logits."""
    store: Literal["auto", "float32", "float16", "top_k"] = "auto"
    """How logits are kept. float32: exactly. float16: relative to the largest. top_k: the 64 largest and what the
    others come to. auto: float16 up to 256 classes, top_k above."""
    verify: int = 64
    """Cached logits that are compared with the teacher's own before training starts. 0: none."""

    def __post_init__(self) -> None:
        require(0 <= self.alpha <= 1, "distill.alpha", self.alpha, "in [0, 1]")
        require(self.temperature > 0, "distill.temperature", self.temperature, "positive")
        for key in ("dkd_target", "dkd_others", "hint", "attention", "teacher_check", "verify"):
            require(getattr(self, key) >= 0, f"distill.{key}", getattr(self, key), "at least 0")
        aligned = self.hint > 0 or self.attention > 0
        valid = "at least one pair [student module, teacher module] when distill.hint or distill.attention is set"
        require(bool(self.layers) or not aligned, "distill.layers", self.layers, valid)
        online = self.teacher_logits == "online"
        why = "online where distill.hint or distill.attention is set: features are too large to cache"
        require(online or not aligned, "distill.teacher_logits", self.teacher_logits, why)
        require(online or bool(self.cache), "distill.cache", self.cache, "a folder, unless teacher_logits is online")

    @property
    def aligns(self) -> bool:
        """Whether features of layer pairs are compared."""
        return self.hint > 0 or self.attention > 0

    @property
    def student_layers(self) -> tuple[str, ...]:
        """Student modules whose outputs the loss needs."""
        return tuple(pair[0] for pair in self.layers) if self.aligns else ()

    @property
    def teacher_layers(self) -> tuple[str, ...]:
        """Teacher modules whose outputs the loss needs."""
        return tuple(pair[1] for pair in self.layers) if self.aligns else ()

    @property
    def needs_teacher(self) -> bool:
        """Whether any term asks the teacher."""
        return self.alpha > 0 or self.aligns


@dataclass(frozen=True, kw_only=True)
class DistillConfig(TrainConfig):
    """Distillation of a teacher into a student."""

    student: ModelSpec
    """The network to train."""
    teacher: str | None = None
    """The teacher's .safetensors file. May be null for the control without: distill.alpha, hint and attention 0."""
    distill: DistillSpec = field(default_factory=DistillSpec)
    """The loss."""

    def __post_init__(self) -> None:
        TrainConfig.__post_init__(self)
        require(
            self.teacher is not None or not self.distill.needs_teacher,
            "teacher",
            self.teacher,
            "a .safetensors file, as train.teacher writes into its run folder (or set distill.alpha to 0)",
        )

    @property
    def network(self) -> ModelSpec:
        """The network that is trained."""
        return self.student
