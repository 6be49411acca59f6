"""The loss as a weighted sum of named terms. B samples, K classes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from data_pipes.batch import Batch
from train.config import DistillSpec
from train.loss import losses
from train.student import Signals

SUPERVISED = DistillSpec(alpha=0.0)


@dataclass(frozen=True, slots=True)
class Objective:
    """(1 - alpha) ce + alpha (kd or dkd) + hint + attention; a term of weight 0 is not computed."""

    spec: DistillSpec = SUPERVISED
    label_smoothing: float = 0.0

    def __call__(
        self, student: Signals, adapted: list[Tensor], batch: Batch, teacher: Signals | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to differentiate and each term's own (unweighted) value, detached, under its name."""
        total = student.logits_BK.new_zeros(())
        measurements: dict[str, Tensor] = {}
        real_B = batch.weight_B > 0
        student, adapted = _real(student, real_B), [_rows(feature, real_B) for feature in adapted]
        teacher = _real(teacher, real_B) if teacher is not None else None
        for name, weight, loss_B in self._terms(student, adapted, batch, teacher):
            value = (loss_B * batch.weight_B).sum()
            total = total + weight * value
            measurements[name] = value.detach()
        return total, measurements | {"loss": total.detach()}

    def _terms(
        self, student: Signals, adapted: list[Tensor], batch: Batch, teacher: Signals | None
    ) -> list[tuple[str, float, Tensor]]:
        spec, terms = self.spec, []
        if spec.alpha < 1:
            ce_B = losses.cross_entropy(student.logits_BK, batch.target_BK, self.label_smoothing)
            terms.append(("ce", 1 - spec.alpha, ce_B))
        if spec.needs_teacher:
            assert teacher is not None, "the objective asks a teacher that was not built"
            if spec.alpha > 0:
                terms.append((spec.soft, spec.alpha, self._soft(student, batch, teacher)))
            if spec.hint > 0:
                terms.append(("hint", spec.hint, _over_layers(losses.hint, adapted, teacher.features_L)))
            if spec.attention > 0:
                attention_B = _over_layers(losses.attention, student.features_L, teacher.features_L)
                terms.append(("attention", spec.attention, attention_B))
        return terms

    def _soft(self, student: Signals, batch: Batch, teacher: Signals) -> Tensor:
        spec = self.spec
        if spec.soft == "kd":
            return losses.kd(student.logits_BK, teacher.logits_BK, spec.temperature)
        weights = (spec.dkd_target, spec.dkd_others)
        return losses.dkd(student.logits_BK, teacher.logits_BK, batch.target_BK, spec.temperature, *weights)


def _real(signals: Signals, real_B: Tensor) -> Signals:
    features_L = [_rows(feature, real_B) for feature in signals.features_L]
    return Signals(logits_BK=_rows(signals.logits_BK, real_B), features_L=features_L)


def _rows(x: Tensor, real_B: Tensor) -> Tensor:
    """Zero in padded rows. Their weight is 0, but 0 * inf is nan, in the sum and in every gradient behind it."""
    return torch.where(real_B.view(-1, *(1,) * (x.ndim - 1)), x, 0)


def _over_layers(loss: losses.PairLoss, student_L: list[Tensor], teacher_L: list[Tensor]) -> Tensor:
    """Mean over the layer pairs, so that the weight does not depend on their number."""
    return torch.stack([loss(s, t) for s, t in zip(student_L, teacher_L, strict=True)]).mean(dim=0)
