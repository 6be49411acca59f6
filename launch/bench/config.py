"""Configs of the bench. Free of torch, so that --help and config errors answer at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from configs.errors import UsageError, require
from data_pipes.spec import MAX_SEED, DataSpec
from train.config import DistillConfig, TeacherConfig

VARIANTS = (
    *("pil-0", "pil-2", "pil-4", "tv2", "decode", "dali-decode", "dali-random", "dali-plan", "dali-canvas", "host"),
    *("resident", "resident-crop-flip-erase"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class LoaderConfig:
    """Measurements of loading."""

    data: DataSpec
    """Data set and augmentation: the section of a training config. mixup and cutmix, which belong to the training step,
    are left out."""
    batch_size: int = 128
    """Images of a batch."""
    rounds: int = 7
    """Rounds; in each, every variant runs once. One more is thrown away."""
    images: int = 512
    """Images that every variant reads again and again, out of the training split; rounded up to whole batches."""
    seconds: float = 0.5
    """A variant that is faster takes the images several times in each round."""
    variants: tuple[str, ...] = ()
    """Which variants to measure, for example [pil-2, host]. Empty: all."""
    seed: int = 0
    """Chooses the images and the views."""
    json: bool = False
    """Print one JSON object instead of tables."""

    def __post_init__(self) -> None:
        for key in ("batch_size", "rounds", "images"):
            require(getattr(self, key) >= 1, key, getattr(self, key), "at least 1")
        require(self.seconds >= 0, "seconds", self.seconds, "at least 0")
        require(0 <= self.seed < MAX_SEED, "seed", self.seed, "in [0, 2^63)")
        unknown = [name for name in self.variants if name not in VARIANTS]
        require(not unknown, "variants", ", ".join(unknown), f"some of {', '.join(VARIANTS)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ScaleConfig:
    """Measurements of a data set of many files."""

    images: int = 1_280_000
    """Files of the data set that is generated: hard links to small JPEGs."""
    classes: int = 1000
    """Its class folders."""
    folder: str = ""
    """Where it is generated, with its index and caches: a folder on the file system to measure. All of it is removed
    afterwards. Empty: the system's folder for temporary files."""
    processes: int = 2
    """Processes that share the examination of the files."""
    rounds: int = 3
    """Rounds of what is measured more than once."""
    json: bool = False
    """Print one JSON object instead of a table."""

    def __post_init__(self) -> None:
        for key in ("images", "classes", "processes", "rounds"):
            require(getattr(self, key) >= 1, key, getattr(self, key), "at least 1")
        require(self.classes >= 2, "classes", self.classes, "at least 2")
        require(self.images >= 2 * self.classes, "images", self.images, "at least two for each class")


@dataclass(frozen=True, kw_only=True, slots=True)
class DistillStepConfig(DistillConfig):
    """A distillation config, and how to measure its step."""

    rounds: int = 7
    """Rounds; in each, every variant runs once. One more is thrown away."""
    seconds: float = 2.0
    """About how long each variant runs in each round: at least two steps, at most an epoch."""
    json: bool = False
    """Print one JSON object instead of tables."""

    def __post_init__(self) -> None:
        DistillConfig.__post_init__(self)
        _require_rounds(self)
        if self.distill.needs_teacher and not Path(self.teacher or "").is_file():
            raise UsageError(
                f"teacher {self.teacher} does not exist: train it with python -m train.teacher, or measure the step "
                "without a teacher: --distill.alpha 0 --distill.hint 0 --distill.attention 0"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class TeacherStepConfig(TeacherConfig):
    """A teacher's config, and how to measure its step."""

    rounds: int = 7
    """Rounds; in each, every variant runs once. One more is thrown away."""
    seconds: float = 2.0
    """About how long each variant runs in each round: at least two steps, at most an epoch."""
    json: bool = False
    """Print one JSON object instead of tables."""

    def __post_init__(self) -> None:
        TeacherConfig.__post_init__(self)
        _require_rounds(self)


StepConfig = DistillStepConfig | TeacherStepConfig


def _require_rounds(config: StepConfig) -> None:
    require(config.rounds >= 1, "rounds", config.rounds, "at least 1")
    require(config.seconds >= 0, "seconds", config.seconds, "at least 0")
