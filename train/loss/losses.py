"""Losses: pure functions with one value per sample, for the caller to weight. TERMS: those that a config can name.

Half precision inputs are computed in fp32, fp64 ones in fp64, probabilities always as logarithms. Padding rows, even
of zeros, give finite values and gradients, so that a weight of 0 removes them; a NaN stays in its own row.
"""

# B batch, K classes, R the K - 1 classes other than the target, 2 (the target, all the rest)
# C channels, H W height and width, N = H * W, L layer pairs

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from configs.errors import InputError, UsageError
from train.loss.config import DistillSpec

PairLoss = Callable[[Tensor, Tensor], Tensor]
"""A loss between a student's and a teacher's features of one layer pair, per sample."""


def cross_entropy(student_BK: Tensor, target_BK: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross entropy with soft targets: -sum_k y_k log q_k, where q = softmax(student).

    y = (1 - smoothing) target + smoothing / K: label smoothing: Szegedy et al. 2016, arXiv 1512.00567, section 7.

    Args:
        student_BK: logits. Probabilities would pass through a second softmax, and the loss would stick near ln K.
        target_BK: one-hot or mixed labels; rows sum to 1.
        smoothing: share of the label that is spread evenly over all classes, in [0, 1].

    Returns:
        loss_B

    Raises:
        InputError: student and target do not have the same shape.
    """
    _require_same_shape("cross_entropy", student_BK, target_BK)
    student_BK = _widened(student_BK)
    return F.cross_entropy(student_BK, target_BK.to(student_BK.dtype), label_smoothing=smoothing, reduction="none")


def kd(student_BK: Tensor, teacher_BK: Tensor, temperature: float) -> Tensor:
    """Distillation: T^2 KL(p || q), where p = softmax(teacher / T), q = softmax(student / T), summed over the classes.

    Hinton, Vinyals and Dean 2015, arXiv 1503.02531, section 2; T^2 keeps the gradients' size as T changes
    (section 2.1). The mean over B is kl_div's 'batchmean'; its default 'mean' is K times smaller.

    Args:
        student_BK: logits.
        teacher_BK: raw logits, not divided by a temperature yet.
        temperature: T > 0.

    Returns:
        loss_B

    Raises:
        InputError: student and teacher do not have the same shape.
    """
    _require_same_shape("kd", student_BK, teacher_BK)
    return temperature**2 * _kl(_widened(student_BK) / temperature, _widened(teacher_BK) / temperature)


def dkd(
    student_BK: Tensor,
    teacher_BK: Tensor,
    target_BK: Tensor,
    temperature: float,
    target_weight: float,
    non_target_weight: float,
) -> Tensor:
    """Decoupled distillation: T^2 (target_weight * TCKD + non_target_weight * NCKD).

    TCKD = KL over (target, all the rest), NCKD = KL among the rest alone. Zhao et al. 2022, arXiv 2203.08679, equation
    7; plain KD is TCKD + (1 - p_target) NCKD (equation 6).

    NOTE: the paper needs one target class. For mixed labels (mixup, cutmix) this is the expectation over the label,
    sum_c y_c DKD(target = c), over its two largest entries, scaled to sum to 1. Do not smooth the label first.

    Args:
        student_BK: logits.
        teacher_BK: raw logits.
        target_BK: one-hot or mixed labels.
        temperature: T > 0.
        target_weight: the paper's alpha, usually 1.
        non_target_weight: the paper's beta, tuned per pair of networks.

    Returns:
        loss_B

    Raises:
        InputError: student, teacher and target do not have the same shape, or there are fewer than two classes.
    """
    _require_same_shape("dkd", student_BK, teacher_BK)
    _require_same_shape("dkd", student_BK, target_BK)
    if student_BK.shape[1] < 2:
        raise InputError(f"dkd compares the target with other classes; logits of shape {_shape(student_BK)} have none")
    student_BK, teacher_BK = _widened(student_BK) / temperature, _widened(teacher_BK) / temperature
    label_B2, class_B2 = _widened(target_BK).topk(2, dim=1)
    share_B2 = label_B2 / label_B2.sum(1, keepdim=True).clamp_min(torch.finfo(label_B2.dtype).tiny)
    loss_B = torch.zeros_like(student_BK[:, 0])
    for share_B, class_B in zip(share_B2.unbind(1), class_B2.unbind(1), strict=True):
        student_B2, student_BR = _decoupled(student_BK, class_B)
        teacher_B2, teacher_BR = _decoupled(teacher_BK, class_B)
        tckd_B, nckd_B = _kl(student_B2, teacher_B2), _kl(student_BR, teacher_BR)
        loss_B = loss_B + share_B * (target_weight * tckd_B + non_target_weight * nckd_B)
    return temperature**2 * loss_B


def hint(student_BCHW: Tensor, teacher_BCHW: Tensor) -> Tensor:
    """Hint: mean over C, H, W of (student - teacher)^2; the larger map is average-pooled to the smaller first.

    FitNets, Romero et al. 2015, arXiv 1412.6550, equation 3, with the mean in place of half the sum, so that the weight
    does not depend on the layer's size.

    Args:
        student_BCHW: features that already have the teacher's channels (train.loss.adapters), or BC vectors.
        teacher_BCHW: features, or BC vectors.

    Returns:
        loss_B

    Raises:
        UsageError: features are neither BCHW nor BC.
        InputError: batch or channels differ.
    """
    student_BCHW, teacher_BCHW = _same_size(student_BCHW, teacher_BCHW)
    _require_same_shape("hint", student_BCHW, teacher_BCHW)
    return (student_BCHW - teacher_BCHW).square().flatten(1).mean(1)


def attention(student_BCHW: Tensor, teacher_BCHW: Tensor) -> Tensor:
    """Attention transfer: mean over H, W of (a(student) - a(teacher))^2, where a(x) = m / ||m||_2 and m = mean_c x_c^2.

    Zagoruyko and Komodakis 2017, arXiv 1612.03928, equation 2 with p = 2, reduced as in the authors' code: the mean of
    the squared difference, H * W times smaller than its sum. Channels may differ; where sizes differ, the larger is
    average-pooled to the smaller first.

    Args:
        student_BCHW: features.
        teacher_BCHW: features.

    Returns:
        loss_B

    Raises:
        UsageError: a feature has only one place to look at (a vector, a 1 x 1 map): the loss would always be 0.
        InputError: batches differ.
    """
    student_BCHW, teacher_BCHW = _same_size(student_BCHW, teacher_BCHW)
    if student_BCHW.shape[2:].numel() == 1:
        raise UsageError("attention compares places; a vector or a map of 1 x 1 has only one. Choose earlier layers")
    student_BN, teacher_BN = _attention_map(student_BCHW), _attention_map(teacher_BCHW)
    _require_same_shape("attention", student_BN, teacher_BN)
    return (student_BN - teacher_BN).square().mean(1)


def as_map(feature: Tensor) -> Tensor:
    """A layer's output as BCHW: maps as they are, BC vectors as maps of 1 x 1.

    Raises:
        UsageError: the feature is something else, such as tokens.
    """
    if feature.ndim == 2:
        return feature[:, :, None, None]
    if feature.ndim != 4:
        raise UsageError(
            f"a layer's output has shape {_shape(feature)}; choose layers that give maps (batch, channels, height, "
            "width) or vectors (batch, channels)"
        )
    return feature


def _kl(student_BK: Tensor, teacher_BK: Tensor) -> Tensor:
    """KL(softmax(teacher) || softmax(student)) per row."""
    log_q_BK, log_p_BK = F.log_softmax(student_BK, dim=1), F.log_softmax(teacher_BK, dim=1)
    return F.kl_div(log_q_BK, log_p_BK, reduction="none", log_target=True).sum(1)


def _decoupled(logits_BK: Tensor, class_B: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of (the target, all the rest together), and logits among the rest.

    NOTE: softmax of (z_t, logsumexp of the rest) is (p_t, 1 - p_t), and no 1 - p_t is ever subtracted.
    """
    rest_R = torch.arange(logits_BK.shape[1] - 1, device=logits_BK.device)
    rest_BR = rest_R + (rest_R >= class_B[:, None])
    logits_BR = logits_BK.gather(1, rest_BR)
    target_B1 = logits_BK.gather(1, class_B[:, None])
    return torch.cat([target_B1, logits_BR.logsumexp(1, keepdim=True)], dim=1), logits_BR


def _attention_map(feature_BCHW: Tensor) -> Tensor:
    return F.normalize(feature_BCHW.square().mean(1).flatten(1), dim=1)


def _same_size(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both as BCHW of the smaller height and the smaller width."""
    student_BCHW, teacher_BCHW = _widened(as_map(student)), _widened(as_map(teacher))
    height = min(student_BCHW.shape[2], teacher_BCHW.shape[2])
    width = min(student_BCHW.shape[3], teacher_BCHW.shape[3])
    return _pooled(student_BCHW, height, width), _pooled(teacher_BCHW, height, width)


def _pooled(feature_BCHW: Tensor, height: int, width: int) -> Tensor:
    sides = feature_BCHW.shape[2:]
    if sides == (height, width):
        return feature_BCHW
    if sides[0] % height == sides[1] % width == 0:  # its backward is deterministic on a GPU, that of the other is not
        return F.avg_pool2d(feature_BCHW, (sides[0] // height, sides[1] // width))
    return F.adaptive_avg_pool2d(feature_BCHW, (height, width))


def _widened(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _require_same_shape(loss: str, student: Tensor, other: Tensor) -> None:
    if student.shape != other.shape:
        raise InputError(f"{loss} compares equal shapes; got {_shape(student)} from the student and {_shape(other)}")


def _shape(x: Tensor) -> tuple[int, ...]:
    return tuple(x.shape)


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """What a term may use; what it does use is in its row of train.loss.config.TERMS."""

    spec: DistillSpec
    label_smoothing: float
    target_BK: Tensor
    """One-hot or mixed labels."""
    student_BK: Tensor
    teacher_BK: Tensor | None
    """None: no term needs a teacher."""
    student_L: list[Tensor]
    adapted_L: list[Tensor]
    """The student's features with the teacher's channels."""
    teacher_L: list[Tensor]

    @property
    def teacher_logits(self) -> Tensor:
        """Logits of the teacher, which is there if a term needs it."""
        assert self.teacher_BK is not None, "the term's row in the table does not say that it needs teacher_logits"
        return self.teacher_BK


def _ce(x: Inputs) -> Tensor:
    return cross_entropy(x.student_BK, x.target_BK, x.label_smoothing)


def _kd(x: Inputs) -> Tensor:
    return kd(x.student_BK, x.teacher_logits, x.spec.temperature)


def _dkd(x: Inputs) -> Tensor:
    weights = (x.spec.dkd_target, x.spec.dkd_others)
    return dkd(x.student_BK, x.teacher_logits, x.target_BK, x.spec.temperature, *weights)


def _hint(x: Inputs) -> Tensor:
    return _over_layers(hint, x.adapted_L, x.teacher_L)


def _attention(x: Inputs) -> Tensor:
    return _over_layers(attention, x.student_L, x.teacher_L)


TERMS: Mapping[str, Callable[[Inputs], Tensor]] = {
    "ce": _ce,
    "kd": _kd,
    "dkd": _dkd,
    "hint": _hint,
    "attention": _attention,
}
"""Each term of train.loss.config.TERMS by its name: loss_B."""


def _over_layers(loss: PairLoss, student_L: list[Tensor], teacher_L: list[Tensor]) -> Tensor:
    """Mean over the layer pairs, so that the weight does not depend on their number."""
    return torch.stack([loss(s, t) for s, t in zip(student_L, teacher_L, strict=True)]).mean(dim=0)
