"""Optimizers and learning-rate schedules. Epochs become steps here, and only here."""

from __future__ import annotations

import torch
from timm.scheduler.cosine_lr import CosineLRScheduler
from timm.scheduler.scheduler import Scheduler
from timm.scheduler.step_lr import StepLRScheduler
from torch import nn
from torch.optim import Optimizer

from train.config import OptimSpec


def build_optimizer(spec: OptimSpec, module: nn.Module) -> Optimizer:
    """AdamW or SGD over what the module trains; biases, norms and other vectors are not decayed."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": spec.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if spec.name == "sgd":
        return torch.optim.SGD(groups, lr=spec.lr, momentum=spec.momentum, nesterov=spec.momentum > 0)
    return torch.optim.AdamW(groups, lr=spec.lr, betas=(spec.momentum, 0.999))


def build_schedule(
    spec: OptimSpec, optimizer: Optimizer, *, epochs: int, steps_per_epoch: int, first_step: int = 0
) -> Scheduler:
    """timm's schedule over optimizer steps: call `step_update(step)` before step number `step`, counted from 0.

    It ends with the last step of `epochs`, of which `first_step` steps are over when it begins.
    """
    warmup = round(spec.warmup_epochs * steps_per_epoch)
    shared = {"warmup_t": warmup, "warmup_lr_init": spec.lr / max(warmup, 1), "t_in_epochs": False}
    if spec.schedule == "cosine":
        rest = max(epochs * steps_per_epoch - first_step - warmup, 1)
        return CosineLRScheduler(optimizer, t_initial=rest, lr_min=spec.min_lr, warmup_prefix=True, **shared)
    drop = max(round(spec.step_epochs * steps_per_epoch), 1)
    factor = spec.step_factor if spec.schedule == "step" else 1.0
    return StepLRScheduler(optimizer, decay_t=drop, decay_rate=factor, **shared)
