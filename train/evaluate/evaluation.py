"""Evaluation of a network on a split with fixed views, on any number of processes."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from accelerate import Accelerator
from torch import Tensor, nn

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
    taught_N: Tensor | None = None,
    who: str = "network",
) -> Scores:
    """Return scores over all processes. Each sample counts exactly once; the network's mode is restored.

    teacher: answers each batch. taught_N: in its place, the classes that it predicts, as `predictions` returns them.
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
        taught_B = taught_N[batch.index_B] if taught_N is not None else None
        if teacher is not None:
            taught_B = teacher(batch, accelerator.autocast()).logits_BK.argmax(dim=1)
        tally.add(batch, logits_BK, taught_B)
    for module, mode in modes.items():
        module.training = mode
    return tally.scores(accelerator.reduce(tally.counts(), reduction="sum"))


@torch.no_grad()
def predictions(accelerator: Accelerator, teacher: LiveTeacher, batches: Iterable[Batch], samples: int) -> Tensor:
    """Return the class that a teacher predicts for each sample of the split that this process is shown; 8 bytes each.

    Others are -1, which no network predicts.
    """
    taught_N = torch.full((samples,), -1, dtype=torch.int64, device=accelerator.device)
    teacher.begin(0)
    for batch in batches:
        with accelerator.autocast():  # the network alone: logits that are not finite are not those of training images
            taught_N[batch.index_B] = teacher.model(batch.image_BCHW).argmax(dim=1)
    return taught_N
