"""The plan: every random choice about data as a pure function of (seed, view, sample).

    order(seed, epoch)    permutation of the data set
    training(seed, view)  crop box | one affine map (flips, rotation, affine step) | erased box | partner, share and box

Executors carry out a plan and draw nothing themselves. N samples of the split, or B of a micro-batch.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from data_pipes import affines, boxes, mixing
from data_pipes.boxes import Boxes, Sizes
from data_pipes.draws import Floats, permutation
from data_pipes.mixing import Rows
from data_pipes.spec import AugmentSpec, Operator

SizeHW = tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Crop, warp, erasing and mixing of each sample in one view; one row per sample."""

    crop_N4: Boxes
    """(y, x, h, w) in pixels of the upright source image; always inside it."""
    matrix_N23: Floats
    """Destination-to-source map in pixels of the resized crop, corner origin. Outside the crop is black."""
    erase_N4: Boxes
    """(y, x, h, w) in output pixels, filled with the mean colour; height 0: none."""
    partner_N: Rows
    """Row of the sample to mix with; its own: none."""
    blend_N: Floats
    """Mixup weight of the sample's own pixels; 1: none."""
    paste_N4: Boxes
    """(y, x, h, w) in output pixels, pasted from the partner by cutmix; height 0: none."""

    def __len__(self) -> int:
        return len(self.crop_N4)

    def take(self, rows: Rows) -> Plan:
        """The plan of some samples, in the order given."""
        return Plan(**{name: getattr(self, name)[rows] for name in self.__slots__})

    def crc(self) -> int:
        """CRC-32 of the whole plan, by which two machines can compare what they draw."""
        value = 0
        for name in self.__slots__:
            value = zlib.crc32(np.ascontiguousarray(getattr(self, name)).tobytes(), value)
        return value


def training(seed: int, view: int, spec: AugmentSpec, size_N2: Sizes, output_HW: SizeHW) -> Plan:
    """A random view of a training split whose upright images have sizes `size_N2` (height, width)."""
    count = len(size_N2)
    partner_N, blend_N, paste_N4 = _unmixed(count)
    if spec.mixes:
        partner_N, blend_N, paste_N4 = mixing.mix(seed, view, spec, count, output_HW)
    return Plan(
        crop_N4=boxes.crop(seed, view, spec, size_N2),
        matrix_N23=affines.random_maps(seed, view, spec, count, output_HW),
        erase_N4=boxes.erase(seed, view, spec, count, output_HW),
        partner_N=partner_N,
        blend_N=blend_N,
        paste_N4=paste_N4,
    )


def evaluation(size_N2: Sizes, eval_crop: float, output_HW: SizeHW) -> Plan:
    """The fixed evaluation view: the centred box of `eval_crop` times the largest that fits."""
    partner_N, blend_N, paste_N4 = _unmixed(len(size_N2))
    return Plan(
        crop_N4=boxes.centre_boxes(size_N2, eval_crop, output_HW),
        matrix_N23=affines.identity(len(size_N2)),
        erase_N4=np.zeros((len(size_N2), 4), dtype=np.int32),
        partner_N=partner_N,
        blend_N=blend_N,
        paste_N4=paste_N4,
    )


def order(seed: int, epoch: int, partner_N: Rows) -> Rows:
    """The permutation of an epoch. Partners stay adjacent; in a mixed view, a sample without a partner comes last."""
    first_P = _first_of_pairs(partner_N)
    if not len(first_P):
        return permutation(seed, epoch, Operator.ORDER, len(partner_N))
    return _side_by_side(first_P[permutation(seed, epoch, Operator.ORDER, len(first_P))], partner_N)


def pairs(partner_N: Rows) -> Rows:
    """All samples in ascending order, except that partners are adjacent and a sample without a partner comes last."""
    first_P = _first_of_pairs(partner_N)
    return _side_by_side(first_P, partner_N) if len(first_P) else np.arange(len(partner_N), dtype=np.int64)


def _first_of_pairs(partner_N: Rows) -> Rows:
    return np.flatnonzero(partner_N > np.arange(len(partner_N)))


def _side_by_side(first_P: Rows, partner_N: Rows) -> Rows:
    alone = np.flatnonzero(partner_N == np.arange(len(partner_N)))
    return np.concatenate([np.stack([first_P, partner_N[first_P]], axis=1).reshape(-1), alone])


def label_share(plan_B: Plan, output_HW: SizeHW) -> Floats:
    """Weight of each sample's own label, which is its share of the pixels."""
    pasted = plan_B.paste_N4[:, 2].astype(np.float64) * plan_B.paste_N4[:, 3]
    return np.asarray(plan_B.blend_N * (1 - pasted / (output_HW[0] * output_HW[1])))


def _unmixed(count: int) -> tuple[Rows, Floats, Boxes]:
    return np.arange(count, dtype=np.int64), np.ones(count), np.zeros((count, 4), dtype=np.int32)
