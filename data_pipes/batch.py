"""The micro-batch that training receives. B samples, C channels, H x W pixels, K classes."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """A micro-batch on the device. Shapes are constant within a run: real rows first, then padding of weight 0."""

    image_BCHW: torch.Tensor
    """Normalised by the spec's mean and std."""
    target_BK: torch.Tensor
    """Label distribution: one-hot, or the mixture of a mixed pair. Zero if unlabelled."""
    label_B: torch.Tensor
    """Class of the sample itself, int64; -1 if unlabelled."""
    index_B: torch.Tensor
    """Row of the sample in its split, int64."""
    weight_B: torch.Tensor
    """sum(loss_B * weight_B), averaged over the step's micro-batches and processes, is the mean over real samples."""
    view: int
    """Number of the view; -1 in evaluation."""
    real: int
    """Rows that are not padding, which come first: known to the host without a look at the device."""
