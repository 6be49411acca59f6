"""Mixup and cutmix as part of a view: partners, shares and boxes are drawn before batches are formed.

Zhang et al. 2018 (arXiv 1710.09412) and Yun et al. 2019 (arXiv 1905.04899). Samples are matched in random pairs,
the two of a pair are mixed with each other by the same share, and the epoch's order keeps pairs adjacent. Therefore any
even micro-batch, on any number of processes, contains both, and cached teacher logits of a mixed view are exact.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from data_pipes.boxes import Boxes
from data_pipes.draws import Floats, permutation, uniform
from data_pipes.spec import AugmentSpec, Operator

Rows = npt.NDArray[np.int64]
MAX_ATTEMPTS = 1000


def matching(seed: int, view: int, count: int) -> Rows:
    """Partner of each sample, an involution. With an odd count, one sample is its own partner."""
    shuffled = permutation(seed, view, Operator.MATCHING, count)
    paired = shuffled[: count - count % 2]
    partner_N = np.arange(count, dtype=np.int64)
    partner_N[paired[0::2]], partner_N[paired[1::2]] = paired[1::2], paired[0::2]
    return partner_N


def beta(seed: int, view: int, alpha_N: Floats) -> Floats:
    """Beta(alpha, alpha) per row, by Joehnk's rejection: U^(1/a) / (U^(1/a) + V^(1/a)) where the sum is at most 1."""
    share_N = np.empty(len(alpha_N))
    rest = np.arange(len(alpha_N))
    for attempt in range(1, MAX_ATTEMPTS):
        # In logarithms, because for alpha = 0.1 the tenth power of a uniform number may underflow.
        log_u = np.log(1 - uniform(seed, view, Operator.MIX, (len(alpha_N), 2), attempt)[rest])
        log_x, log_y = (log_u / alpha_N[rest, None]).T
        log_sum = np.logaddexp(log_x, log_y)
        accepted = log_sum <= 0
        share_N[rest[accepted]] = np.exp(log_x - log_sum)[accepted]
        rest = rest[~accepted]
        if len(rest) == 0:
            # exp and log differ in the last digit between machines; plans must not.
            return np.asarray(np.rint(share_N * 2.0**24) / 2.0**24)
    raise AssertionError(f"{len(rest)} Beta draws were rejected {MAX_ATTEMPTS} times")


def paste_boxes(share_N: Floats, centre_N2: Floats, size_HW: tuple[int, int]) -> Boxes:
    """Cutmix boxes of (1 - share) of the area around a uniform centre, clipped at the borders."""
    height, width = size_HW
    half = 0.5 * np.sqrt(1 - share_N)
    y, x = np.floor(centre_N2[:, 0] * height), np.floor(centre_N2[:, 1] * width)
    half_h, half_w = np.floor(half * height), np.floor(half * width)
    top, bottom = np.clip(y - half_h, 0, height), np.clip(y + half_h, 0, height)
    left, right = np.clip(x - half_w, 0, width), np.clip(x + half_w, 0, width)
    return np.stack([top, left, bottom - top, right - left], axis=1).astype(np.int32)


def mix(seed: int, view: int, spec: AugmentSpec, count: int, size_HW: tuple[int, int]) -> tuple[Rows, Floats, Boxes]:
    """Partners, mixup shares of the sample itself (1: none), and boxes pasted from the partner (height 0: none).

    Both samples of a pair use the draw of the smaller row.
    """
    partner_N = matching(seed, view, count)
    first_N = np.minimum(partner_N, np.arange(count))
    u = uniform(seed, view, Operator.MIX, (count, 4))
    mixed = (u[:, 0] < spec.mix_probability) & (partner_N != np.arange(count))[first_N]
    both = spec.mixup > 0 and spec.cutmix > 0
    cut = u[:, 1] < 0.5 if both else np.full(count, spec.cutmix > 0)
    share_N = beta(seed, view, np.where(cut, spec.cutmix or 1.0, spec.mixup or 1.0))
    paste_N4 = np.where((mixed & cut)[:, None], paste_boxes(share_N, u[:, 2:], size_HW), 0).astype(np.int32)
    blend_N = np.where(mixed & ~cut, share_N, 1.0)
    return partner_N, blend_N[first_N], paste_N4[first_N]
