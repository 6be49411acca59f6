"""One micro-batch: forward, loss, backward, and the update when the global batch is complete."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from torch import Tensor, nn

from data_pipes.batch import Batch
from models.pruning.masks import Held
from train.live_teacher import Teacher
from train.loss.objective import Objective
from train.student import Signals
from train.track.clock import Clock


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """The parts of a step, fixed for the run."""

    accelerator: Accelerator
    model: nn.Module
    """The prepared student, perhaps inside DistributedDataParallel."""
    teacher: Teacher | None
    objective: Objective
    optimizer: AcceleratedOptimizer
    clip_norm: float
    seed: int
    held: Held | None
    """Weights that stay zero; None: all are free."""
    clock: Clock = field(default_factory=Clock)
    """Times the teacher."""

    def __call__(self, batch: Batch, step: int, slot: int) -> tuple[dict[str, Tensor], Signals]:
        """Train on a micro-batch; return measurements (no host sync) and the student's signals.

        `step` counts over the run, `slot` is the micro-batch's place in the global batch: dropout depends on them and
        on nothing else, so it is the same for any number of processes and after a resumption.
        """
        seed = int(np.random.SeedSequence((self.seed, step, slot)).generate_state(1, np.uint64)[0])
        seed_generators(self.accelerator.device, seed)
        with self.accelerator.accumulate(self.model):
            taught = self._ask_teacher(batch)
            logits_BK, features_L, adapted_L = self.model(batch.image_BCHW)
            signals = Signals(logits_BK=logits_BK, features_L=features_L)
            loss, measurements = self.objective(signals, adapted_L, batch, taught)
            measurements |= right(logits_BK, batch, taught)
            self.accelerator.backward(loss)
            if self.accelerator.sync_gradients:
                self._prepare_gradients(measurements)
            self.optimizer.step()
            if self.held is not None:
                self.held.zero_()
            self.optimizer.zero_grad()
        return measurements, signals

    def _ask_teacher(self, batch: Batch) -> Signals | None:
        if self.teacher is None:
            return None
        with self.clock.working("teacher"):
            return self.teacher(batch, self.accelerator.autocast())

    def _prepare_gradients(self, measurements: dict[str, Tensor]) -> None:
        """Mask, measure and clip the gradients between the last backward of a step and its update."""
        if self.held is not None:
            self.held.zero_gradients_()
        if self.clip_norm > 0:
            norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        else:
            self.accelerator.unscale_gradients()
            norm = nn.utils.get_total_norm([p.grad for p in self.model.parameters() if p.grad is not None])
        measurements["gradient_norm"] = torch.as_tensor(norm).detach()


def right(logits_BK: Tensor, batch: Batch, taught: Signals | None) -> dict[str, Tensor]:
    """Return sums over the real images of a micro-batch: those that are right, and that agree with the teacher.

    An image whose label is mixed counts with the share of the predicted class in its label.
    """
    answer_B = logits_BK[: batch.real].detach().argmax(dim=1)
    counts = {"accuracy": batch.target_BK[: batch.real].gather(1, answer_B[:, None]).sum()}
    if taught is not None:
        counts["agreement"] = (taught.logits_BK[: batch.real].argmax(dim=1) == answer_B).sum()
    return counts


def seed_generators(device: torch.device, seed: int) -> None:
    """Seed torch's generators of the CPU and of this process's device; `torch.manual_seed` seeds all that there are.

    That takes a hundred times as long, most of it for devices that are not in use or not there.
    """
    if device.type not in ("cpu", "cuda"):
        torch.manual_seed(seed)
        return
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[torch.cuda.current_device()].manual_seed(seed)
