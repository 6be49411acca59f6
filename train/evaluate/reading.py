"""Count that train.evaluate reads a test split, in the folder of the run whose network is measured."""

from __future__ import annotations

import logging
from pathlib import Path

from torch import nn

from configs.shown import printable
from data_pipes.sources import source
from data_pipes.sources.samples import Samples
from data_pipes.spec import DataSpec
from models import state_dicts
from train import saved
from train.evaluate.config import EvaluateConfig
from train.run_folder import readings
from train.run_folder.readings import Reading, Reads

logger = logging.getLogger(__name__)


def count(config: EvaluateConfig, data: DataSpec, samples: Samples, net: nn.Module) -> None:
    """Record that labels of a test split are about to be read, and say so from the second time on.

    For the main process only. Nothing is recorded of weights that lie in no run folder.
    """
    home = readings.home(saved.weights_file(config.run_dir, config.weights), config.run_dir)
    if home is None:
        return
    own = saved.own_data(str(home), data) is not False
    if not _is_test(data, samples.split, own=own):
        return
    reading = Reading(
        command="train.evaluate",
        split=samples.split,
        images=len(samples),
        weights=state_dicts.digest(net),
        data=samples.fingerprint,
        own=own,
    )
    readings.record(home, reading)
    _say(readings.read(home).of_data(samples.fingerprint), home, "the test split" if own else "this data set")


def _is_test(data: DataSpec, split: str, *, own: bool) -> bool:
    """Whether a split has images on which nothing may be chosen: test, or all of a folder that has such images."""
    return split == "test" or (split == "all" and not (own and "test" not in source.splits(data)))


def _say(reads: Reads, home: Path, what: str) -> None:
    if (reads.number or 0) < 2:
        return
    text = printable(f"{home}: {what} has been read {reads.summary}")
    if reads.networks == 1:
        logger.info("%s", text)
        return
    logger.warning(
        "%s; choose settings on validation (--split validation): images that something was chosen by are not new", text
    )
