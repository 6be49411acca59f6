"""Rules for operations that move entries between channels and the sides of an image, or among channels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.pruning.flow import views
from models.pruning.flow.calls import Call
from models.pruning.flow.labels import FIXED, Labels


def unfold(call: Call) -> Sequence[Labels]:
    """Patches of an image as columns."""
    labels = call.labels_of(call.image)
    for label in labels[2:]:
        call.ledger.stop(label, f"{call.where} takes patches")
    channels, times = labels[1], call.out[0].shape[1] // call.image.shape[1]
    return [(labels[0], np.repeat(channels, times) if isinstance(channels, np.ndarray) else FIXED, FIXED)]


def pixel_shuffle(call: Call) -> Sequence[Labels]:
    """Channels moved into the sides of the image."""
    labels = call.labels_of(call.image)
    return [_shuffled(call, labels, call.arguments["upscale_factor"] ** 2)]


def _shuffled(call: Call, labels: Labels, times: int) -> Labels:
    channels = labels[-3]
    for label in labels[-2:]:
        call.ledger.stop(label, f"{call.where} changes its length")
    if isinstance(channels, np.ndarray):
        rows = channels.reshape(-1, times)
        for column in rows.T[1:]:
            call.ledger.tie(rows[:, 0], column)
        channels = rows[:, 0]
    return (*labels[:-3], channels, FIXED, FIXED)


def pixel_unshuffle(call: Call) -> Sequence[Labels]:
    """Sides of the image moved into channels."""
    labels, times = call.labels_of(call.image), call.arguments["downscale_factor"] ** 2
    for label in labels[-2:]:
        call.ledger.stop(label, f"{call.where} changes its length")
    channels = labels[-3]
    repeated = np.repeat(channels, times) if isinstance(channels, np.ndarray) else channels
    return [(*labels[:-3], repeated, FIXED, FIXED)]


def channel_shuffle(call: Call) -> Sequence[Labels]:
    """Channels of all groups in turn."""
    labels, groups = list(call.labels_of(call.image)), call.arguments["groups"]
    channels = labels[1]
    if isinstance(channels, np.ndarray):
        rows = channels.reshape(groups, -1)
        for row in rows[1:]:
            call.ledger.tie(rows[0], row)
        labels[1] = np.repeat(rows[0], groups)
    return [tuple(labels)]


def gated(call: Call) -> Sequence[Labels]:
    """One half of a dimension times a gate from the other."""
    labels, dim = call.labels_of(call.image), call.dim()
    length = call.image.shape[dim] // 2
    half = views.parted(call.ledger, labels[dim], [length, length])[0]
    return [(*labels[:dim], half, *labels[dim + 1 :])]
