"""Evaluation of a network on a split with fixed views, on any number of processes."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from accelerate import Accelerator
from torch import nn

from data_pipes.batch import Batch
from train import guards
from train.evaluate.metrics import Scores, Tally
from train.live_teacher import LiveTeacher


@torch.no_grad()
def evaluate(
    accelerator: Accelerator,
    net: nn.Module,
    batches: Iterable[Batch],
    classes: int,
    *,
    teacher: LiveTeacher | None = None,
    who: str = "network",
) -> Scores:
    """Return scores over all processes. Each sample counts exactly once; the network's mode is restored.

    who: what messages call the network.
    """
    tally = Tally(classes, accelerator.device)
    modes = {module: module.training for module in net.modules()}
    net.eval()
    if teacher is not None:
        teacher.begin(0)
    for number, batch in enumerate(batches):
        with accelerator.autocast():
            logits_BK = net(batch.image_BCHW)
        if number == 0:
            guards.require_logits(logits_BK, who)
        taught = teacher(batch, accelerator.autocast()).logits_BK if teacher is not None else None
        tally.add(batch, logits_BK, taught)
    for module, mode in modes.items():
        module.training = mode
    return tally.scores(accelerator.reduce(tally.counts(), reduction="sum"))
