"""Learning-rate schedules as functions of the optimizer step. Epochs become steps here, and only here.

timm has the same ones; importing it takes a second in each process of a run. torch's count steps of their own, which a
resumed run would have to repeat.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch.optim import Optimizer

from train.config import OptimSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """A schedule over optimizer steps, without a state of its own: see `build_schedule`."""

    optimizer: Optimizer
    spec: OptimSpec
    warmup: int
    """Steps of the linear warm-up, from lr / warmup to lr."""
    rest: int
    """Steps of a cosine after the warm-up."""
    drop: int
    """Steps between two drops of a step schedule."""

    def step_update(self, step: int) -> None:
        """Set the learning rate of optimizer step number `step`, counted from 0."""
        rate = self.rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def rate(self, step: int) -> float:
        """Return the learning rate of a step. cosine: Loshchilov & Hutter 2017 (SGDR), eq. 5, without restarts."""
        spec, after = self.spec, step - self.warmup
        if after < 0:
            first = spec.lr / self.warmup
            return first + step * ((spec.lr - first) / self.warmup)
        if spec.schedule == "constant":
            return spec.lr
        if spec.schedule == "step":
            return spec.lr * spec.step_factor ** (after // self.drop)
        share = min(after / self.rest, 1.0)
        return spec.min_lr + 0.5 * (spec.lr - spec.min_lr) * (1 + math.cos(math.pi * share))


def build_schedule(
    spec: OptimSpec, optimizer: Optimizer, *, epochs: int, steps_per_epoch: int, first_step: int = 0
) -> Schedule:
    """Build the schedule of a run: it ends with the last step of `epochs`, and begins after `first_step` of them."""
    warmup = round(spec.warmup_epochs * steps_per_epoch)
    return Schedule(
        optimizer=optimizer,
        spec=spec,
        warmup=warmup,
        rest=max(epochs * steps_per_epoch - first_step - warmup, 1),
        drop=max(round(spec.step_epochs * steps_per_epoch), 1),
    )
