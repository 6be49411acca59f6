"""The loss as a weighted sum of the terms in train.loss.config. B samples, K classes, L layer pairs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from data_pipes.batch import Batch
from train.loss import losses
from train.loss.config import SUPERVISED, DistillSpec
from train.loss.losses import Inputs
from train.student import Signals


@dataclass(frozen=True, slots=True)
class Objective:
    """The weighted sum of a spec's terms; a term of weight 0 is not computed."""

    spec: DistillSpec = SUPERVISED
    label_smoothing: float = 0.0

    def __call__(
        self, student: Signals, adapted: list[Tensor], batch: Batch, teacher: Signals | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to differentiate and each term's own (unweighted) value, detached, under its name."""
        inputs = self._inputs(student, adapted, batch, teacher)
        total = student.logits_BK.new_zeros(())
        measurements: dict[str, Tensor] = {}
        for term, weight in self.spec.terms:
            value = (losses.TERMS[term.name](inputs) * batch.weight_B).sum()
            total = total + weight * value
            measurements[term.name] = value.detach()
        return total, measurements | {"loss": total.detach()}

    def _inputs(self, student: Signals, adapted: list[Tensor], batch: Batch, teacher: Signals | None) -> Inputs:
        assert teacher is not None or not self.spec.needs_teacher, "the loss needs a teacher that was not built"
        real_B = batch.weight_B > 0 if batch.real < len(batch.weight_B) else None
        return Inputs(
            spec=self.spec,
            label_smoothing=self.label_smoothing,
            target_BK=batch.target_BK,
            student_BK=_rows(student.logits_BK, real_B),
            teacher_BK=_rows(teacher.logits_BK, real_B) if teacher is not None else None,
            student_L=[_rows(feature, real_B) for feature in student.features_L],
            adapted_L=[_rows(feature, real_B) for feature in adapted],
            teacher_L=[_rows(feature, real_B) for feature in teacher.features_L] if teacher is not None else [],
        )


def _rows(x: Tensor, real_B: Tensor | None) -> Tensor:
    """Zero in padded rows. Their weight is 0, but 0 * inf is nan, in the sum and in every gradient behind it.

    real_B: None where no row is padded.
    """
    return x if real_B is None else torch.where(real_B.view(-1, *(1,) * (x.ndim - 1)), x, 0)
