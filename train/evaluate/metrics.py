"""Exact evaluation: counts on the device, reduced over processes once. B samples, K classes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from data_pipes.batch import Batch


class Tally:
    """Running counts of an evaluation, without padding rows. Confusion: a row per label, a column per prediction."""

    def __init__(self, classes: int, device: torch.device) -> None:
        self.confusion_KK = torch.zeros(classes, classes, dtype=torch.int64, device=device)
        self.top5 = torch.zeros((), dtype=torch.int64, device=device)
        self.agreed = torch.zeros((), dtype=torch.int64, device=device)
        self.undefined = torch.zeros((), dtype=torch.int64, device=device)
        self.loss = torch.zeros((), dtype=torch.float64, device=device)

    def add(self, batch: Batch, logits_BK: Tensor, taught_B: Tensor | None = None) -> None:
        """Count a micro-batch; with the classes that the teacher predicts, also how often both predict the same."""
        classes = self.confusion_KK.shape[0]
        real = batch.weight_B > 0
        answer_B = logits_BK.argmax(dim=1)
        # A boolean index and bincount would make the host wait for the device to count.
        self.confusion_KK.view(-1).index_add_(0, batch.label_B * classes + answer_B, real.long())
        best = logits_BK.topk(min(5, classes), dim=1).indices
        self.top5 += ((best == batch.label_B[:, None]).any(dim=1) & real).sum()
        self.undefined += (~logits_BK.isfinite().all(dim=1) & real).sum()
        wide_BK = logits_BK if logits_BK.dtype == torch.float64 else logits_BK.float()
        loss_B = F.cross_entropy(wide_BK, batch.label_B, reduction="none")
        self.loss += torch.where(real, loss_B, 0).double().sum()
        if taught_B is not None:
            self.agreed += ((taught_B == answer_B) & real).sum()

    def counts(self) -> Tensor:
        """Return all sums as one float64 vector, which holds counts up to 2^53 exactly, for one reduction."""
        scalars = torch.stack([self.top5, self.agreed, self.undefined])
        return torch.cat([self.confusion_KK.flatten().double(), scalars.double(), self.loss[None]])

    def scores(self, counts: Tensor) -> Scores:
        """Return the scores of summed counts."""
        values = counts.cpu()  # sync: end of an evaluation
        classes = self.confusion_KK.shape[0]
        confusion, (top5, agreed, undefined, loss) = values[:-4].view(classes, classes), values[-4:].tolist()
        return Scores(
            confusion=tuple(tuple(int(v) for v in row) for row in confusion),
            top5=int(top5),
            agreed=int(agreed),
            undefined=int(undefined),
            loss_sum=loss,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """Counts of a finished evaluation, and scores derived from them."""

    confusion: tuple[tuple[int, ...], ...]
    """Row: label; column: prediction."""
    top5: int
    """Samples whose label is among the five highest logits."""
    agreed: int
    """Samples for which model and teacher predict the same class."""
    undefined: int = 0
    """Samples with a logit that is NaN or infinite."""
    loss_sum: float = 0.0
    """Sum of the samples' cross-entropies with their labels, in nats."""

    @property
    def count(self) -> int:
        """Samples."""
        return sum(map(sum, self.confusion))

    @property
    def correct(self) -> int:
        """Samples whose highest logit is the label's."""
        return sum(row[i] for i, row in enumerate(self.confusion))

    @property
    def accuracy(self) -> float:
        """Top-1."""
        return self.correct / max(self.count, 1)

    @property
    def agreement(self) -> float:
        """Share of samples for which model and teacher predict the same class."""
        return self.agreed / max(self.count, 1)

    @property
    def loss(self) -> float:
        """Mean cross-entropy with the labels, without label smoothing, in nats."""
        return self.loss_sum / max(self.count, 1)

    def per_class(self) -> tuple[tuple[int, int], ...]:
        """(correct, count) of each class."""
        return tuple((row[i], sum(row)) for i, row in enumerate(self.confusion))
