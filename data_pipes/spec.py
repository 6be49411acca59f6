"""Config of data: source, preprocessing, augmentation and loading. Free of torch: --help and config errors are fast."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal, NamedTuple

from configs import resources
from configs.errors import require
from configs.schema import SQUARE

LARGEST_BATCH = 2**20  # images; more would only ask for memory that no machine has
MAX_SEED = 2**63
SourceName = Literal["digits", "idx", "cifar10", "cifar10.1", "food11", "folder"]


class SourceFacts(NamedTuple):
    """Facts about a data set that follow from its source."""

    files: bool
    """Whether its images are files to decode, rather than one array."""
    usual_count: int
    """Images of its training split, a tenth being validation."""
    usual_side: int
    """Longest side, in pixels."""
    bundled: bool = False
    """Whether it is part of a package, and so always available and the same."""


SOURCES: dict[SourceName, SourceFacts] = {
    "digits": SourceFacts(files=False, usual_count=1_293, usual_side=8, bundled=True),
    "idx": SourceFacts(files=False, usual_count=54_000, usual_side=28),
    "cifar10": SourceFacts(files=False, usual_count=45_000, usual_side=32),
    "cifar10.1": SourceFacts(files=False, usual_count=2_000, usual_side=32),
    "food11": SourceFacts(files=True, usual_count=9_866, usual_side=500),  # as published, with its own validation
    "folder": SourceFacts(files=True, usual_count=10_000, usual_side=500),  # assumed: photographs
}
ExecutorName = Literal["auto", "dali", "host", "resident"]


class Operator(IntEnum):
    """Random operators, each with its own stream. The numbers are part of every cache on disk: append only."""

    ORDER = 0
    CROP = 1
    FLIP = 2
    ROTATION = 3
    AFFINE = 4
    ERASE = 5
    MATCHING = 6
    MIX = 7


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentSpec:
    """Random augmentation of training samples, in the order in which it is applied."""

    crop_scale: tuple[float, float] | None = None
    """Share of the image's area that RandomResizedCrop takes, for example [0.7, 1.0]. null: the whole image."""
    crop_ratio: tuple[float, float] = (0.75, 4 / 3)
    """Aspect ratios of RandomResizedCrop."""
    crop_padding: int = 0
    """RandomCrop after padding by this many output pixels of black on each side. Not together with crop_scale."""
    horizontal_flip: float = 0.0
    """Probability of a left-right flip."""
    vertical_flip: float = 0.0
    """Probability of an upside-down flip."""
    rotation: float = 0.0
    """Rotation by an angle drawn from [-rotation, rotation] degrees."""
    affine: float = 0.0
    """Rotation of the affine step, which follows the rotation: from [-affine, affine] degrees."""
    translate: tuple[float, float] = (0.0, 0.0)
    """Largest shift of the affine step as a share of width and of height."""
    zoom: tuple[float, float] = (1.0, 1.0)
    """Scale factors of the affine step."""
    shear: float = 0.0
    """Shear of the affine step along x, from [-shear, shear] degrees."""
    erase: float = 0.0
    """Probability of RandomErasing."""
    erase_scale: tuple[float, float] = (0.02, 0.33)
    """Share of the output's area that is erased."""
    erase_ratio: tuple[float, float] = (0.3, 3.3)
    """Aspect ratios of the erased box."""
    mixup: float = 0.0
    """Alpha of mixup's Beta distribution, at most 2. 0: no mixup."""
    cutmix: float = 0.0
    """Alpha of cutmix's Beta distribution, at most 2. 0: no cutmix. With both, each pair draws one of them evenly."""
    mix_probability: float = 1.0
    """Share of the pairs that are mixed."""

    def __post_init__(self) -> None:
        for key in ("horizontal_flip", "vertical_flip", "erase", "mix_probability"):
            require(0 <= getattr(self, key) <= 1, f"augment.{key}", getattr(self, key), "a probability in [0, 1]")
        for key in ("crop_scale", "crop_ratio", "zoom", "erase_scale", "erase_ratio"):
            pair = getattr(self, key)
            if pair is not None:
                require(0 < pair[0] <= pair[1] < math.inf, f"augment.{key}", pair, "[low, high] with 0 < low <= high")
        for key in ("mixup", "cutmix"):
            require(0 <= getattr(self, key) <= 2, f"augment.{key}", getattr(self, key), "in [0, 2]")
        require(self.crop_padding >= 0, "augment.crop_padding", self.crop_padding, "at least 0")
        for key in ("rotation", "affine"):
            require(0 <= getattr(self, key) <= 180, f"augment.{key}", getattr(self, key), "in [0, 180] degrees")
        require(0 <= self.shear < 90, "augment.shear", self.shear, "in [0, 90) degrees")
        for key in ("crop_scale", "erase_scale"):
            pair = getattr(self, key)
            require(pair is None or pair[1] <= 1, f"augment.{key}", pair, "shares of the area, at most 1")
        require(all(0 <= t <= 1 for t in self.translate), "augment.translate", self.translate, "two shares in [0, 1]")
        both = self.crop_scale is not None and self.crop_padding > 0
        require(
            not both, "augment.crop_padding", self.crop_padding, "0 when augment.crop_scale is set: choose one crop"
        )

    @property
    def mixes(self) -> bool:
        """Whether samples are blended in pairs."""
        return (self.mixup > 0 or self.cutmix > 0) and self.mix_probability > 0

    @property
    def flips(self) -> bool:
        """Whether images are mirrored."""
        return self.horizontal_flip > 0 or self.vertical_flip > 0

    @property
    def affine_step(self) -> bool:
        """Whether the affine step does anything."""
        return self.affine > 0 or self.shear > 0 or any(self.translate) or self.zoom != (1.0, 1.0)

    @property
    def warps(self) -> bool:
        """Whether images need an interpolating affine map; a flip alone does not."""
        return self.crop_padding > 0 or self.rotation > 0 or self.affine_step


@dataclass(frozen=True, kw_only=True, slots=True)
class DaliSpec:
    """Options of the executor `dali`."""

    feed: Literal["auto", "files", "canvas"] = "auto"
    """files: decode for every batch. canvas: images decoded once, squashed, and kept in the device's memory. auto: the
    canvas on a GPU in whose memory it fits, otherwise files; data sets that are arrays are fed as they are."""
    hw_decoder_load: float = 0.65
    """Share of JPEG images that a GPU's hardware decoder takes. Its pixels differ from the CUDA decoder's, and which of
    the two decodes an image depends on its batch: set 0 for the same pixels every time."""
    fancy_upsampling: bool = True
    """Interpolate the colour of JPEG files as libjpeg does. A GPU then decodes whole images and crops them. false: the
    crops are decoded alone, in less memory; 0.5 levels off."""

    def __post_init__(self) -> None:
        require(0 <= self.hw_decoder_load <= 1, "dali.hw_decoder_load", self.hw_decoder_load, "a share in [0, 1]")


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSpec:
    """Where images are and how they are prepared for the network."""

    source: SourceName
    """digits (ships with scikit-learn), idx (MNIST, Fashion-MNIST), cifar10 (python pickles), cifar10.1 (.npy),
    food11 (training/3_17.jpg, validation/, evaluation/ or testing/), folder (one folder per class, below train/, val/
    and test/ or without them). Folders of splits may be spelt train, training, val, valid, validation, dev, test,
    testing, evaluation or eval, in any case."""
    root: str | None = None
    """The folder of the data set, as torchvision lays it out. Only digits needs none."""
    classes: tuple[str, ...] | None = None
    """Names of the classes, from label 0 on, for idx and food11. null: idx knows those of Fashion-MNIST, and otherwise
    takes 0 to 9; food11 reads classes.txt."""
    image_size: tuple[int, int] = field(metadata={SQUARE: True})
    """Height and width that the network sees, in pixels; one number for both."""
    mean: tuple[float, ...]
    """Mean per channel in [0, 1] that is subtracted; its length is the number of channels (1: grey, 3: RGB)."""
    std: tuple[float, ...]
    """Standard deviation per channel that is divided by."""
    eval_crop: float = 1.0
    """Evaluation takes a centred square of this share of the shorter side (0.875 is 224 of 256). 1 with equal sides:
    the whole image."""
    validation_fraction: float = 0.1
    """Share of train that becomes the validation split when the data set brings none. Of files, each is chosen by what
    it contains, so that the share is met roughly and images may come and go; an array is cut exactly, by class."""
    split_seed: int = 0
    """Fixes which samples of train become the validation split."""
    version: Literal["v4", "v6"] = "v6"
    """Which CIFAR-10.1."""
    bad_files: Literal["error", "skip"] = "error"
    """What to do with files that cannot be decoded: stop and name them, or leave them out and say how many."""
    class_depth: int = 1
    """Levels of folders that name a class of the source folder. 1: train/cat/, whatever lies below it. 2:
    train/animals/cat/, a class named animals/cat."""
    follow_links: bool = False
    """Whether to follow links that lead out of data.root or to folders, as DVC and the Hugging Face hub make them. Each
    folder is read once; two links to one file are two images. false: a split's folder may still be a link to another
    folder in data.root."""
    executor: ExecutorName = "auto"
    """What decodes and augments. dali: NVIDIA DALI, on the GPU where there is one. host: OpenCV threads. resident:
    images decoded once and kept on the device. auto: says which it chose, and why."""
    dali: DaliSpec = field(default_factory=DaliSpec)
    """Options of the executor `dali`."""
    canvas_scale: float = 1.14
    """Photographs that are decoded once are kept squashed to image_size times this; 1.5 to 2 for crop scales under
    0.5."""
    threads: int = 0
    """Decoding threads of each process. 0: its share of the machine's cores."""
    prefetch: int = 3
    """Micro-batches prepared ahead."""
    augment: AugmentSpec = field(default_factory=AugmentSpec)
    """Random augmentation of the training split."""

    def __post_init__(self) -> None:
        self._check_classes()
        require(len(self.mean) in (1, 3), "data.mean", self.mean, "one number (grey) or three (RGB)")
        require(all(0 <= m <= 1 for m in self.mean), "data.mean", self.mean, "shares of full brightness in [0, 1]")
        require(len(self.std) == len(self.mean), "data.std", self.std, f"{len(self.mean)} numbers, as data.mean has")
        require(all(0 < s < math.inf for s in self.std), "data.std", self.std, "positive")
        require(0 <= self.split_seed < MAX_SEED, "data.split_seed", self.split_seed, "in [0, 2^63)")
        require(min(self.image_size) >= 1, "data.image_size", self.image_size, "[height, width], both positive")
        require(0 < self.eval_crop <= 1, "data.eval_crop", self.eval_crop, "in (0, 1]")
        require(0 < self.validation_fraction < 1, "data.validation_fraction", self.validation_fraction, "in (0, 1)")
        require(self.class_depth >= 1, "data.class_depth", self.class_depth, "at least 1")
        only_folders = self.class_depth == 1 or self.source == "folder"
        require(only_folders, "data.class_depth", self.class_depth, f"1 with data.source: {self.source}")
        require(self.canvas_scale >= 1, "data.canvas_scale", self.canvas_scale, "at least 1")
        require(self.threads >= 0, "data.threads", self.threads, "at least 0")
        require(self.prefetch >= 1, "data.prefetch", self.prefetch, "at least 1")

    def _check_classes(self) -> None:
        if self.classes is None:
            return
        why = "the folders name the classes" if self.source == "folder" else "the data set names its classes itself"
        require(self.source in ("idx", "food11"), "data.classes", self.classes, f"null for {self.source}: {why}")
        unique = len(set(self.classes)) == len(self.classes) and all(name.strip() for name in self.classes)
        require(unique and bool(self.classes), "data.classes", self.classes, "names, none of them empty or given twice")

    @property
    def facts(self) -> SourceFacts:
        """Facts about the data set that follow from its source."""
        return SOURCES[self.source]

    @property
    def channels(self) -> int:
        """Channels of the images: 1 or 3."""
        return len(self.mean)

    @property
    def fill_colour(self) -> tuple[int, ...]:
        """The mean colour in whole levels, which fills erased boxes: nearly zero after normalisation."""
        return tuple(round(mean * 255) for mean in self.mean)

    @property
    def thread_count(self) -> int:
        """Threads of this process: data.threads, or its share of the available cores."""
        return self.threads or resources.thread_share()
