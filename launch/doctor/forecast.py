"""The executor that each training config would get on this machine, and why."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import yaml

from configs import reader
from configs.errors import UsageError, UserError
from configs.home import expand
from data_pipes.executors import choice
from data_pipes.spec import DataSpec, SourceName

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

CONFIGS = Path(__file__).parents[2] / "configs"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """The section of a training config that decides on the executor."""

    data: DataSpec
    """Data set and executor."""


class TrainingConfig(NamedTuple):
    """A config whose executor is asked for."""

    name: str
    spec: DataSpec
    given: bool
    """Whether the user gave it: only then are its files looked at, which takes a while the first time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """The executor of a config's training split."""

    config: str
    source: SourceName
    images: int
    """Number of images; 0 where the data could not be read."""
    largest_side: int
    """In pixels."""
    assumed: str
    """Why number and size are those that such data sets usually have; empty where they are the data set's own."""
    executor: str
    """none: a run would stop, for the reason given."""
    reason: str


def read_configs(files: Sequence[str], root: str | None, source: str | None = None) -> list[TrainingConfig]:
    """These configs with the data that are named, the named data alone, or else the configs that come with the code.

    UsageError for one that is wrong. Free of torch.
    """
    if files:
        return [TrainingConfig(file, _read(file, root, source), given=True) for file in files]
    if source is not None:
        return [TrainingConfig(f"--data.source {source}", _read(_like(source), root, source), given=True)]
    shipped = [file for file in sorted(CONFIGS.glob("*/*.yaml")) if _trains(file)]
    return [TrainingConfig(f"{f.parent.name}/{f.stem}", _read(str(f), root), given=False) for f in shipped]


def _trains(file: Path) -> bool:
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    data = content.get("data") if isinstance(content, dict) else None
    return isinstance(data, dict) and "source" in data


def _like(source: str) -> str:
    """The shipped config of a source, whose size and normalisation stand for those of the data set."""
    shipped = [str(file) for file in sorted(CONFIGS.glob("*/teacher.yaml"))]
    return next((file for file in shipped if _read(file, None).source == source), shipped[0])


def _read(file: str, root: str | None, source: str | None = None) -> DataSpec:
    named = {"--data.root": root, "--data.source": source}
    words = ["--config", file, *(word for key, value in named.items() if value is not None for word in (key, value))]
    return reader.read(Config, words, prog="python -m launch.doctor", description="", other_sections=True).data


def predict(config: TrainingConfig, device: torch.device) -> Forecast:
    """The executor that a run on `device` would choose. Imports torch; reads the data set of a given config."""
    from data_pipes.executors import build
    from data_pipes.sources import source

    name, spec, given = config
    if not given:
        return _forecast(config, usual_images(spec), device, _why_unread(spec))
    if spec.facts.files:
        logger.warning("%s: looking at every image of %s; only the first time takes long", name, spec.root)
    try:
        images = build.describe(source.load(spec, "train"))
    except UsageError as error:  # not at data.root
        return _forecast(config, usual_images(spec), device, str(error))
    except UserError as error:
        return _none(config, None, "", error)
    return _forecast(config, images, device, "")


def usual_images(spec: DataSpec) -> choice.Images:
    """What is usual in a data set of this source."""
    facts = spec.facts
    common_size = None if facts.files else (facts.usual_side, facts.usual_side)
    return choice.Images(
        count=facts.usual_count, largest_side=facts.usual_side, common_size=common_size, encoded=facts.files
    )


def _why_unread(spec: DataSpec) -> str:
    """Why the data set of a config that comes with the code was not looked at; empty if what is usual is exact."""
    if spec.facts.bundled:
        return ""
    if spec.root and expand(spec.root).is_dir():
        return f"data at {spec.root} not looked at: name it with --config"
    return f"data not found at {spec.root}"


def _forecast(config: TrainingConfig, images: choice.Images, device: torch.device, assumed: str) -> Forecast:
    from data_pipes.executors import devices

    try:
        chosen = choice.choose(config.spec, images, devices.describe(device))
    except UserError as error:
        return _none(config, images, assumed, error)
    return Forecast(
        config=config.name,
        source=config.spec.source,
        images=images.count,
        largest_side=images.largest_side,
        assumed=assumed,
        executor=chosen.label,
        reason=chosen.reason,
    )


def _none(config: TrainingConfig, images: choice.Images | None, assumed: str, error: UserError) -> Forecast:
    return Forecast(
        config=config.name,
        source=config.spec.source,
        images=images.count if images else 0,
        largest_side=images.largest_side if images else 0,
        assumed=assumed,
        executor="none",
        reason=str(error),
    )
