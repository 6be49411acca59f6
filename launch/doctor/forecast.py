"""Which executor each training config would get on this machine, and why, before anything is trained."""

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
    """The part of a training config that matters here."""

    data: DataSpec
    """Data set and executor."""


class Planned(NamedTuple):
    """A config to judge."""

    name: str
    spec: DataSpec
    named: bool
    """Whether the user named it: only then are its files looked at, which takes a while the first time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """The training split's executor. `executor` is none where a run would stop instead, for the reason given."""

    config: str
    source: SourceName
    images: int
    """How many; 0 where the data could not be read."""
    largest_side: int
    """In pixels."""
    assumed: str
    """Why number and size are what such data sets usually have; empty where they are this data set's own."""
    executor: str
    reason: str


class _Usual(NamedTuple):
    images: int
    side: int


# Training splits after a tenth went to validation; Food-11's is given. Of a folder nothing is known but photographs.
USUAL: dict[SourceName, _Usual] = {
    "digits": _Usual(1_293, 8),
    "idx": _Usual(54_000, 28),
    "cifar10": _Usual(45_000, 32),
    "cifar10.1": _Usual(2_000, 32),
    "food11": _Usual(9_866, 500),
    "folder": _Usual(10_000, 500),
}
PHOTOGRAPHS: tuple[SourceName, ...] = ("food11", "folder")


def plan(files: Sequence[str], root: str | None) -> list[Planned]:
    """The named configs, or those that come with the code. UsageError for one that is wrong. Free of torch."""
    if files:
        return [Planned(file, _read(file, root), True) for file in files]
    shipped = [file for file in sorted(CONFIGS.glob("*/*.yaml")) if _trains(file)]
    return [Planned(f"{f.parent.name}/{f.stem}", _read(str(f), root), False) for f in shipped]


def _trains(file: Path) -> bool:
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    data = content.get("data") if isinstance(content, dict) else None
    return isinstance(data, dict) and "source" in data


def _read(file: str, root: str | None) -> DataSpec:
    words = ["--config", file, *([] if root is None else ["--data.root", root])]
    return reader.read(Config, words, prog="python -m launch.doctor", description="", other_sections=True).data


def judge(planned: Planned, device: torch.device) -> Forecast:
    """The executor that a run on `device` would choose. Imports torch and reads the data set of a config by name."""
    name, spec, named = planned
    if not named:
        return _assumed(name, spec, device, _unseen(spec))
    from data_pipes.executors import build
    from data_pipes.sources import source

    if spec.source in PHOTOGRAPHS:
        logger.warning("%s: looking at every image of %s; only the first time takes long", name, spec.root)
    try:
        samples = source.load(spec, "train")
    except UsageError as error:  # not at data.root
        return _assumed(name, spec, device, str(error))
    except UserError as error:
        return _forecast(planned, _Usual(0, 0), "", ("none", str(error)))
    facts = _Usual(len(samples), int(samples.size_N2.max(initial=0)))
    try:
        chosen = build.choose(spec, samples, device)
    except UserError as error:
        return _forecast(planned, facts, "", ("none", str(error)))
    return _forecast(planned, facts, "", (chosen.label, chosen.reason))


def _unseen(spec: DataSpec) -> str:
    """Why a data set that nobody named was not looked at."""
    if spec.source == "digits":
        return ""  # ships with scikit-learn: always the same
    if spec.root and expand(spec.root).is_dir():
        return f"data at {spec.root} not looked at: name it with --config"
    return f"data not found at {spec.root}"


def _assumed(name: str, spec: DataSpec, device: torch.device, why: str) -> Forecast:
    from data_pipes.executors import devices

    planned = Planned(name, spec, named=False)
    usual = USUAL[spec.source]
    try:
        chosen = choice.choose(spec, usual_images(spec), devices.describe(device))
    except UserError as error:
        return _forecast(planned, usual, why, ("none", str(error)))
    return _forecast(planned, usual, why, (chosen.label, chosen.reason))


def usual_images(spec: DataSpec) -> choice.Images:
    """What a data set of this source is known, or assumed, to be, with the canvas that it would get."""
    count, side = USUAL[spec.source]
    height, width = (round(length * spec.canvas_scale) for length in spec.image_size)
    if side <= min(height, width) and spec.source not in PHOTOGRAPHS:
        height = width = side
    return choice.Images(
        largest_side=side,
        canvas_bytes=count * height * width * spec.channels,
        encoded=spec.source in PHOTOGRAPHS,
    )


def _forecast(planned: Planned, facts: _Usual, assumed: str, verdict: tuple[str, str]) -> Forecast:
    executor, reason = verdict
    return Forecast(
        config=planned.name,
        source=planned.spec.source,
        images=facts.images,
        largest_side=facts.side,
        assumed=assumed,
        executor=executor,
        reason=reason,
    )
