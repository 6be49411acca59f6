"""What a user may say about training. Free of torch, so that --help and config errors answer at once."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Literal

from configs.errors import require
from data_pipes.spec import MAX_SEED, DataSpec
from models.cuts import PruneSpec
from models.spec import ModelSpec


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


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackSpec:
    """Where measurements go besides metrics.jsonl, which is always written."""

    wandb: Literal["disabled", "online", "offline"] = "disabled"
    """offline writes wandb files without any network; upload them later with `wandb sync`."""
    project: str = "heartcut"
    """wandb project."""
    group: str | None = None
    """wandb group, for example the name of a sweep."""
    every: int = 50
    """Optimizer steps between two lines of metrics.jsonl."""

    def __post_init__(self) -> None:
        require(self.every >= 1, "track.every", self.every, "at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """What every training stage shares."""

    run_dir: str
    """Folder of this run: config, metrics, checkpoints, weights, result. The same command again resumes it."""
    data: DataSpec
    """Data set, augmentation and loading."""
    epochs: int
    """Passes over the training split."""
    batch_size: int = 128
    """Global batch: samples of one optimizer step, over all processes and micro-batches."""
    micro_batch_size: int | None = None
    """Samples of one forward pass; null: batch_size over the number of processes. Fix it to make the result independent
    of the number of GPUs (BatchNorm sees micro-batches)."""
    seed: int = 0
    """Seeds the initial weights, the plan and dropout."""
    precision: Literal["float32", "bf16", "fp16", "float64"] = "float32"
    """bf16 and fp16 are mixed precision; float64 is for checking equivalences."""
    label_smoothing: float = 0.0
    """Share of each hard label spread over all classes."""
    ema: float = 0.0
    """Decay of the moving average of the weights, which is then what is evaluated and saved. 0: none."""
    patience: int = 0
    """Stop after this many epochs without a better validation accuracy. 0: never."""
    checkpoint_steps: int = 0
    """Checkpoint every so many optimizer steps, and at each end of an epoch. 0: only there."""
    test: bool = True
    """Read the test split once, when training is over. false: never, for runs by which settings are chosen."""
    optim: OptimSpec = field(default_factory=OptimSpec)
    """Optimizer and schedule."""
    track: TrackSpec = field(default_factory=TrackSpec)
    """Logging."""

    def __post_init__(self) -> None:
        require(bool(self.run_dir), "run_dir", self.run_dir, "a folder")
        for key in ("epochs", "batch_size"):
            require(getattr(self, key) >= 1, key, getattr(self, key), "at least 1")
        require(0 <= self.seed < MAX_SEED, "seed", self.seed, "in [0, 2^63)")
        for key in ("patience", "checkpoint_steps"):
            require(getattr(self, key) >= 0, key, getattr(self, key), "at least 0")
        for key in ("label_smoothing", "ema"):
            require(0 <= getattr(self, key) < 1, key, getattr(self, key), "in [0, 1)")
        micro = self.micro_batch_size
        require(micro is None or micro >= 1, "micro_batch_size", micro, "at least 1, or null")

    @property
    def network(self) -> ModelSpec:
        """The network that is trained."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True, slots=True)
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

    def __post_init__(self) -> None:
        require(0 <= self.alpha <= 1, "distill.alpha", self.alpha, "in [0, 1]")
        require(self.temperature > 0, "distill.temperature", self.temperature, "positive")
        for key in ("dkd_target", "dkd_others", "hint", "attention", "teacher_check"):
            require(getattr(self, key) >= 0, f"distill.{key}", getattr(self, key), "at least 0")
        aligned = self.hint > 0 or self.attention > 0
        valid = "at least one pair [student module, teacher module] when distill.hint or distill.attention is set"
        require(bool(self.layers) or not aligned, "distill.layers", self.layers, valid)

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


@dataclass(frozen=True, kw_only=True, slots=True)
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


@dataclass(frozen=True, kw_only=True, slots=True)
class PruneConfig(DistillConfig):
    """A trained student, cut to a budget in steps; after each it is trained for `epochs`, with the teacher."""

    prune: PruneSpec
    """What to cut."""
    final_epochs: int | None = None
    """Epochs after the last cut; null: as many as after the others."""
    recalibration: int = 8
    """Batches of training images by which BatchNorm's statistics are estimated anew after a cut. 0: none."""
    final_temperature: float | None = None
    """distill.temperature after the last cut; between the cuts it moves linearly. null: it stays."""
    final_alpha: float | None = None
    """distill.alpha after the last cut, likewise."""
    final_lr: float | None = None
    """optim.lr after the last cut; between the cuts it moves geometrically. null: it stays."""
    dry_run: bool = False
    """Print the cuts as the weights are now, and do nothing."""

    def __post_init__(self) -> None:
        DistillConfig.__post_init__(self)
        require(
            self.student.name.endswith(".safetensors"),
            "student.name",
            self.student.name,
            "the .safetensors file of a trained network, as train.teacher and train.distill write",
        )
        require(self.final_epochs is None or self.final_epochs >= 1, "final_epochs", self.final_epochs, "at least 1")
        require(self.recalibration >= 0, "recalibration", self.recalibration, "at least 0")
        for key in ("final_temperature", "final_lr"):
            require(getattr(self, key) is None or getattr(self, key) > 0, key, getattr(self, key), "positive")
        require(self.final_alpha is None or 0 <= self.final_alpha <= 1, "final_alpha", self.final_alpha, "in [0, 1]")

    def after_cut(self, number: int, *, run_dir: str, student: str) -> DistillConfig:
        """The training after cut `number`, counted from 1, as a config of its own."""
        last = number == self.prune.steps
        share = (number - 1) / max(self.prune.steps - 1, 1)
        temperature, alpha = self.distill.temperature, self.distill.alpha
        temperature += share * ((self.final_temperature or temperature) - temperature)
        alpha += share * ((alpha if self.final_alpha is None else self.final_alpha) - alpha)
        lr = self.optim.lr * ((self.final_lr or self.optim.lr) / self.optim.lr) ** share
        own = {field.name: getattr(self, field.name) for field in fields(DistillConfig)}
        own |= {
            "run_dir": run_dir,
            "student": ModelSpec(name=student),
            "epochs": self.final_epochs if last and self.final_epochs is not None else self.epochs,
            "distill": replace(self.distill, temperature=temperature, alpha=alpha),
            "optim": replace(self.optim, lr=lr, min_lr=min(self.optim.min_lr, lr)),
            "test": self.test and last,
        }
        return DistillConfig(**own)


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateConfig:
    """Exact metrics of a saved network."""

    run_dir: str
    """Folder of the run whose weights are evaluated; the report is written there too."""
    data: DataSpec
    """Where the images are. Without --config, the run's own config.yaml says. How they are resized and normalised, the
    weights' file says."""
    weights: str | None = None
    """A .safetensors file to evaluate instead of the run's own."""
    teacher: str | None = None
    """A .safetensors file whose agreement with the model is measured too."""
    split: Literal["auto", "train", "validation", "test"] = "auto"
    """auto: test where the data set has labels for it, otherwise validation."""
    batch_size: int = 256
    """Samples of one forward pass of each process."""

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictConfig:
    """Predictions for images without labels."""

    run_dir: str
    """Folder of the run whose weights are used."""
    data: DataSpec
    """Where images are and how they are loaded. Without --config, the run's own config.yaml says."""
    weights: str | None = None
    """A .safetensors file to use instead of the run's own."""
    images: str | None = None
    """A folder of images, or one image. null: the data set's evaluation split."""
    output: str | None = None
    """CSV file with the columns Id,Category. null: predictions.csv in the run folder."""
    category: Literal["index", "name"] = "index"
    """What the column Category holds: the class number, or its name."""
    batch_size: int = 256
    """Images of one forward pass."""

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
