"""A run from its config to its result."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from accelerate import Accelerator

from configs import reader
from configs.figures import percent
from train.adopt import on_the_fly
from train.config import TrainConfig
from train.processes import by_main, refusing_other_operators, start_run
from train.run_folder import extension, finished, own_code, result
from train.run_folder.occupied import occupied, refusal_recorded
from train.run_folder.run_dir import RunDir
from train.stage import origin
from train.stage.assembly import assemble
from train.stage.outcome import finish

logger = logging.getLogger(__name__)


def run(config: TrainConfig, stage: str) -> None:
    """Run a training command: train or resume, and log the result."""
    with refusal_recorded(RunDir.at(config.run_dir), reader.dump(config)):
        accelerator = start_run(config)
    reached = carry_out(config, stage, accelerator)
    logger.info("%s", summary(reached))
    logger.info("%s holds the weights, the result and the metrics", config.run_dir)
    accelerator.end_training()


def carry_out(config: TrainConfig, stage: str, accelerator: Accelerator, *, chained: bool = False) -> dict[str, Any]:
    """Train, resume or extend a run unless it is finished; return its result.

    chained: other runs follow from it, which are not finished.
    """
    folder = RunDir.at(config.run_dir)
    before = extension.begin if config.extend else None
    with occupied(accelerator, folder, reader.dump(config), before=before):
        own_code.keep(config, folder, accelerator)
        if folder.done.exists():
            finished.announce(accelerator, folder)
            by_main(accelerator, lambda: origin.require_finished_with(config, folder, chained=chained))
        else:
            with refusing_other_operators():
                loop = assemble(on_the_fly.adopted(config, accelerator, folder), accelerator, folder, stage)
                with loop.tracker or nullcontext():
                    loop.fit()
                    finish(loop)
        return result.read(folder.path)


def summary(result: Mapping[str, Any]) -> str:
    """Return a result as one line of text."""
    low, high = (percent(bound) for bound in result["accuracy_interval_95"])
    return (
        f"{result['accuracy_split']} accuracy {percent(result['accuracy'])} (95 % interval {low} to {high}, "
        f"{result['accuracy_samples']:,} images), {result['parameters']:,} parameters, {result['macs']:,} MACs"
    )
